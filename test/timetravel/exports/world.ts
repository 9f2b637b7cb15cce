import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { onTestFinished } from 'vitest';

import { openStore, type Store } from '../../../src/store/store.ts';
import type { AskedExport } from '../../../src/timetravel/exports/asked.ts';
import type { Exports } from '../../../src/timetravel/exports/exports.ts';
import type { RunWindows } from '../../../src/timetravel/exports/job.ts';
import type { JoinPlan } from '../../../src/timetravel/join/plan.ts';
import { encodeIds, idsPathOf } from '../../../src/timetravel/join/shard-ids.ts';
import { noCounts } from '../../../src/timetravel/join/summary.ts';
import type { WindowDone, WrittenFile } from '../../../src/timetravel/join/window-done.ts';
import { ANY_AGE } from '../../../src/timetravel/question.ts';
import { testExports } from '../../support/exports.ts';
import { TestClock, viewOf } from '../../support/store.ts';
import { tempDirectory } from '../../support/temp.ts';

/** A join whose windows a test lets go on one by one, and fails where it likes. */
class FakeJoin {
  /** Numbers of the windows that were written, over all runs. */
  readonly written: number[] = [];
  /** Resolves when that window may be written; at once where there is nothing. */
  gates = new Map<number, Promise<unknown>>();
  /** How many joins run at once. */
  running = 0;

  run: RunWindows = (job) => this.windows(job);

  private async *windows({
    plan,
    source,
    target,
    done,
    signal,
  }: Parameters<RunWindows>[0]): AsyncGenerator<WindowDone> {
    signal.throwIfAborted();
    this.running++;
    try {
      const { firstRow, rows } = done.at(-1) ?? { firstRow: 0, rows: 0 };
      let index = done.length;
      for await (const piece of source!.pieces(firstRow + rows)) {
        // Aborted between two windows: nobody would hear of it again.
        signal.throwIfAborted();
        const gate = this.gates.get(index);
        const aborted = new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
        aborted.catch(() => {});
        writeFileSync(`${target.part(index)}.tmp`, 'half a par');
        if (gate !== undefined) await Promise.race([gate, aborted]);
        signal.throwIfAborted();
        const bytes = 'bytes' in piece ? piece.bytes : new Uint8Array();
        const part = write(target.part(index), bytes, piece.rows);
        const shard = write(target.shard(0, index), Buffer.from(`vectors ${index}`), 1);
        writeFileSync(idsPathOf(target.shard(0, index)), encodeIds(Float64Array.of(index)));
        this.written.push(index);
        yield {
          index,
          firstRow: piece.firstRow,
          rows: piece.rows,
          counts: noCounts(plan).map((counts) => {
            counts.statuses[0] = piece.rows;
            return counts;
          }),
          invalid: [],
          part,
          shards: [shard],
        };
        index++;
      }
    } finally {
      this.running--;
    }
  }
}

function write(path: string, bytes: Uint8Array, rows: number): WrittenFile {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.tmp`, bytes);
  renameSync(`${path}.tmp`, path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { rows, bytes: bytes.byteLength, sha256 };
}

export interface World {
  data: string;
  store: Store;
  clock: TestClock;
  join: FakeJoin;
  exports: Exports;
  /** Ends the process as far as exports know, and starts the next one. */
  restart(settings?: Settings): Promise<Exports>;
}

type Settings = Parameters<typeof testExports>[3];

/** A store with the view `job`, and exports of it whose joins are made up. */
export async function startWorld(settings: Settings = {}): Promise<World> {
  const data = tempDirectory();
  const clock = new TestClock(1_000_000_000_000_000);
  const store = openStore(data, clock.read);
  store.createView(viewOf('job'));
  const fake = new FakeJoin();
  const world: World = {
    data,
    store,
    clock,
    join: fake,
    exports: testExports(store, data, fake.run, settings),
    async restart(others = settings) {
      await world.exports.stop();
      world.exports = testExports(store, data, fake.run, others);
      await world.exports.start();
      return world.exports;
    },
  };
  onTestFinished(async () => {
    await world.exports.stop();
    await store.close();
  });
  await world.exports.start();
  return world;
}

export function planOf(store: Store): JoinPlan {
  return {
    refs: [
      {
        name: 'job',
        view: 'job',
        version: 'v1',
        dim: 2,
        dtype: 'float32',
        idColumn: 'job_id',
        maxAge: ANY_AGE,
      },
    ],
    question: {
      boundary: 'inclusive',
      knowledge: 'input',
      knownAt: undefined,
      now: store.clock(),
      snapshot: store.snapshot,
    },
    timeColumn: 'event_timestamp',
    columns: { known: false, created: false },
    vectors: 'ref',
    order: 'spine',
    format: 'ndjson',
    strict: false,
  };
}

/** Five rows: parts of two, two and one. */
export const LINES = [1, 2, 3, 4, 5].map((id) => `{"job_id":${id}}\n`);

export function asked({ store }: World, lines: readonly string[] = LINES): AskedExport {
  return {
    plan: planOf(store),
    vectorFormat: 'safetensors',
    rows: { format: 'ndjson', columnTypes: {}, body: body(lines) },
  };
}

async function* body(lines: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const line of lines) yield Buffer.from(line);
}

export function folderOf({ data }: World, id: string): string {
  return join(data, 'exports', id);
}
