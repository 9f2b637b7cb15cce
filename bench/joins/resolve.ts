/**
 * Finding the revision in force for each row of a spine, without vectors, on one thread: Tidemark
 * beside DuckDB's ASOF join. Run with `npm run bench -- join-resolve`.
 */
import { join } from 'node:path';

import { shown } from '../harness/bars.ts';
import { Peer } from '../harness/peer.ts';
import { publish } from '../harness/report.ts';
import { withData } from './data.ts';
import { secondsBar } from './pages.ts';
import { type Contender, inTurns, rowsOf, SECONDS_AND_MEMORY } from './rounds.ts';
import { askedShape, shapeText } from './shape.ts';
import type { Stages } from './stages.ts';

const ROUNDS = 5;
const RESOLVER = join(import.meta.dirname, 'one-thread.ts');
const PEERS = join(import.meta.dirname, 'peers.py');

const { shape, isStandard } = askedShape({ rows: 1e6, revisions: 1e6, dim: 128 });
await withData(shape, async (data) => {
  const { python, store, history, spine } = data;
  const found = new Map<string, string>();
  const thread = new Peer(process.execPath, [RESOLVER, 'resolve', store, spine]);
  const ours: Contender = {
    name: 'Tidemark, 1 thread',
    pid: thread.pid,
    async run() {
      const run = await thread.run<{ stages: Stages; found: string }>('again');
      found.set(this.name, run.found);
      return { seconds: (run.stages.read + run.stages.resolve) / 1_000, clear: async () => {} };
    },
  };
  const duckdbs = [1, 2].map((threads) => ({
    name: `DuckDB, ${threads} thread${threads === 1 ? '' : 's'}`,
    peer: new Peer(python, [PEERS, 'duckdb-resolve', `${threads}`, history, spine]),
  }));
  const contenders = duckdbs.map(({ name, peer }) => ({
    name,
    pid: peer.pid,
    async run() {
      const run = await peer.run('again');
      found.set(name, run.found!);
      return { seconds: run.seconds, clear: async () => {} };
    },
  }));
  const measured = await inTurns([ours, ...contenders], ROUNDS);
  for (const peer of [thread, ...duckdbs.map((one) => one.peer)]) await peer.close();
  if (new Set(found.values()).size > 1) throw new Error(JSON.stringify([...found]));
  publish(
    {
      name: 'resolve',
      title: `Resolving alone, ${shapeText(shape)}`,
      command: 'npm run bench -- join-resolve',
      text: [
        `From a spine in Parquet to the event time of each row’s winner; DuckDB reads ids and times of the history from Parquet, and no vectors. All find the same (${found.get('DuckDB, 1 thread')}, the sum of their event times).`,
      ],
      table: [
        ['', 's, median', 's, all', 'rows/s', 'own memory, MiB', 'speed, DuckDB, 1 thread = 1'],
        ...measured.map((one) => [
          one.name,
          shown(one.median),
          one.seconds.map(shown).join(', '),
          `${Math.round(shape.rows / one.median)}`,
          shown(one.anonymousBytes / 2 ** 20),
          shown(measured[1]!.median / one.median),
        ]),
      ],
      panels: [{ title: 'Seconds, less is better', unit: 's', bars: measured.map(secondsBar) }],
      metrics: SECONDS_AND_MEMORY,
      rows: rowsOf(measured),
      results: { shape, measured },
    },
    isStandard,
    new Date(),
  );
});
