/**
 * How near a training join comes to what none can do without, to copy the bytes of its answer once
 * and write them to the same disk; and where the time of one of its threads goes. Run with
 * `npm run bench -- join-floor`.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { shown } from '../harness/bars.ts';
import { Peer } from '../harness/peer.ts';
import { publish } from '../harness/report.ts';
import { tidemark } from './contenders.ts';
import { type JoinData, withData } from './data.ts';
import { secondsBar } from './pages.ts';
import { type Contender, inTurns, rowsOf, SECONDS_AND_MEMORY } from './rounds.ts';
import { Server } from './server.ts';
import { askedShape, shapeText } from './shape.ts';
import type { Stages } from './stages.ts';
import { THREADS } from './threads.ts';

const ROUNDS = 5;
const FLOOR = join(import.meta.dirname, 'floor-copy.ts');
const ONE_THREAD = join(import.meta.dirname, 'one-thread.ts');
const STAGES = {
  read: 'read the spine',
  resolve: 'resolve',
  gather: 'gather vectors',
  sha256: 'SHA-256',
  write: 'write files, and their other columns',
} satisfies Record<keyof Stages, string>;

const { shape, isStandard } = askedShape({ rows: 1e6, revisions: 1e6, dim: 128 });
await withData(shape, async (data) => {
  const server = await Server.start(data);
  // As many bytes as the answer has.
  const probe = await server.export(data.spine);
  const { bytes } = probe;
  await server.remove(probe);
  const whole = tidemark(`Tidemark, export, ${THREADS} threads`, server, data);
  const floors = [1, THREADS].map(
    (threads) => new Peer(process.execPath, [FLOOR, `${bytes}`, `${threads}`]),
  );
  const names = ['copy and write, 1 thread', `copy and write, ${THREADS} threads`];
  const [one, both] = floors.map((peer, at) => floor(names[at]!, peer, data)) as [
    Contender,
    Contender,
  ];
  const measured = await inTurns([whole, both], ROUNDS);
  // It has the store to itself.
  await server.close();
  const thread = new Peer(process.execPath, [ONE_THREAD, 'write', data.store, data.spine]);
  let stages: Stages | undefined;
  const alone: Contender = {
    name: 'Tidemark, gather and write, 1 thread',
    pid: thread.pid,
    async run() {
      ({ stages } = await thread.run<{ stages: Stages }>(join(data.folder, 'floor')));
      return { seconds: (stages.gather + stages.write) / 1_000, clear: async () => clear(data) };
    },
  };
  measured.push(...(await inTurns([alone, one], ROUNDS)));
  for (const peer of [thread, ...floors]) await peer.close();
  const told = Object.entries(STAGES).map(([stage, name]) => ({
    name,
    value: stages![stage as keyof Stages],
    isOurs: true,
  }));
  publish(
    {
      name: 'floor',
      title: `Training join beside copying and writing, ${shapeText(shape)}`,
      command: 'npm run bench -- join-floor',
      text: [
        `Beside each, the same threads copy as many bytes from memory to memory once and write them to the same disk, in files of 64 MiB. An export is the whole of it, over HTTP, from the request until it says done; to gather and write is to put the columns of rows that are resolved into Parquet, with their vectors, and to write that, without its SHA-256. Nobody waits until the disk has it. ${shown(bytes / 1e6)} MB.`,
        `Where the time of one thread goes, last round: ${told.map(({ name, value }) => `${name} ${value.toFixed(0)} ms`).join('; ')}.`,
      ],
      table: [
        ['', 's, median', 's, all', 'MB/s', 'share of the floor'],
        ...measured.map(({ name, median, seconds }, at) => [
          name,
          shown(median),
          seconds.map(shown).join(', '),
          shown(bytes / median / 1e6),
          // Each is followed by its floor.
          at % 2 === 0 ? `${shown((measured[at + 1]!.median / median) * 100)} %` : '',
        ]),
      ],
      panels: [
        { title: 'Seconds, less is better', unit: 's', bars: measured.map(secondsBar) },
        { title: 'Where the time of one thread goes', unit: 'ms', bars: told },
      ],
      metrics: SECONDS_AND_MEMORY,
      rows: rowsOf(measured),
      results: { shape, bytes, measured, stages },
    },
    isStandard,
    new Date(),
  );
});

function floor(name: string, peer: Peer, data: JoinData): Contender {
  return {
    name,
    pid: peer.pid,
    async run() {
      const { seconds } = await peer.run(join(data.folder, 'floor'));
      return { seconds, clear: async () => clear(data) };
    },
  };
}

async function clear({ folder }: JoinData): Promise<void> {
  const files = (await readdir(folder)).filter((name) => name.startsWith('floor-'));
  await Promise.all(files.map(async (name) => rm(join(folder, name))));
}
