import { micros, systemClock } from '../../src/ground/time.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { newFolder, removeFolder } from './folder.ts';
import { seeded } from './random.ts';

/** A new store with the view `job` of float32. */
export function openJobs(directory: string, dim: number): Store {
  const store = openStore(directory, systemClock);
  const created_timestamp = micros(0);
  store.createView({
    name: 'job',
    entity: 'job',
    join_key: 'job_id',
    created_timestamp,
    aliases: { current: 'v1' },
    versions: { v1: { version: 'v1', dim, dtype: 'float32', created_timestamp } },
  });
  return store;
}

/** The same in a temporary folder, removed by `done`. */
export function benchStore(dim: number): {
  store: Store;
  directory: string;
  done: () => Promise<void>;
} {
  const directory = newFolder();
  const store = openJobs(directory, dim);
  return {
    store,
    directory,
    async done() {
      await store.close();
      removeFolder(directory);
    },
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
  entityOf: (at: number) => string,
): Generator<RevisionBatch> {
  const random = seeded(7);
  const numbers = new Float32Array(dim);
  for (let at = 0; at < dim; at++) numbers[at] = random() - 0.5;
  const vector = new Uint8Array(numbers.buffer);
  for (let from = 0; from < revisions; from += size) {
    const batch = new RevisionBatch(vector.byteLength, size);
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
