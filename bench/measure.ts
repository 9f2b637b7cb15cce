import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

import { micros, systemClock } from '../src/ground/time.ts';
import { RevisionBatch } from '../src/store/batch.ts';
import type { Dtype } from '../src/store/dtype.ts';
import { vectorBytes } from '../src/store/dtype.ts';
import { openStore, type Store } from '../src/store/store.ts';

/** Where and on what a benchmark ran: a number without this says little. */
export function printGround(): void {
  const [cpu] = cpus();
  console.log(`${cpu?.model.trim()} × ${cpus().length}, Node ${process.version}\n`);
}

/** Runs `work` for about `seconds` after a warm-up; milliseconds of each run, ascending. */
export function timeRuns(work: () => void, seconds = 1): Float64Array {
  for (let warm = 0; warm < 20; warm++) work();
  const times: number[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const start = performance.now();
    work();
    times.push(performance.now() - start);
  }
  return Float64Array.from(times).toSorted();
}

export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** A new store with the view `job`. */
export function openJobs(directory: string, dim: number, dtype: Dtype): Store {
  const store = openStore(directory, systemClock);
  const created_timestamp = micros(0);
  store.createView({
    name: 'job',
    entity: 'job',
    join_key: 'job_id',
    created_timestamp,
    aliases: { current: 'v1' },
    versions: { v1: { version: 'v1', dim, dtype, created_timestamp } },
  });
  return store;
}

/** The same in a temporary directory, removed by `done`. */
export function benchStore(
  dim: number,
  dtype: Dtype = 'float32',
): { store: Store; directory: string; done: () => Promise<void> } {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
  const store = openJobs(directory, dim, dtype);
  return {
    store,
    directory,
    async done() {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Numbers that look random, the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Batches of revisions with random vectors, one after another: revision `at` is of entity
 * `entityOf(at)` at the event time `at` seconds.
 */
export function* batches(
  revisions: number,
  size: number,
  dim: number,
  dtype: Dtype,
  entityOf: (at: number) => string,
): Generator<RevisionBatch> {
  const random = seeded(7);
  const bytes = vectorBytes(dim, dtype);
  const numbers = dtype === 'float32' ? new Float32Array(dim) : new Float16Array(dim);
  for (let at = 0; at < dim; at++) numbers[at] = random() - 0.5;
  const vector = new Uint8Array(numbers.buffer);
  for (let from = 0; from < revisions; from += size) {
    const batch = new RevisionBatch(bytes, size);
    for (let at = from; at < Math.min(revisions, from + size); at++) {
      // Another vector each time, at the price of two numbers.
      numbers[at % dim] = random() - 0.5;
      numbers[(at + 1) % dim] = random() - 0.5;
      batch.nextPayload().set(vector);
      batch.addRow(entityOf(at), at * 1e6, at * 1e6, batch.addFilled());
    }
    yield batch;
  }
}
