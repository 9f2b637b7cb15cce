import { onTestFinished } from 'vitest';

import { type Micros, micros } from '../../src/ground/time.ts';
import { DELETED, RevisionBatch } from '../../src/store/batch.ts';
import type { FeatureView, ModelVersion } from '../../src/store/catalogue.ts';
import { type Dtype, vectorBytes, writeNumbers } from '../../src/store/dtype.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { tempDirectory } from './temp.ts';

/** A little: what does not fit is forgotten, and read again. */
export const RESIDENT_BYTES = 2 ** 20;

/** A clock that stands where it is put. */
export class TestClock {
  now: number;
  constructor(now = 1_000) {
    this.now = now;
  }
  read = (): Micros => micros(this.now);
}

export function viewOf(
  name: string,
  dim = 2,
  dtype: Dtype = 'float32',
  version = 'v1',
): FeatureView {
  return {
    name,
    entity: name,
    join_key: `${name}_id`,
    created_timestamp: micros(0),
    aliases: { current: version },
    versions: { [version]: modelVersion(version, dim, dtype) },
  };
}

export function modelVersion(version: string, dim = 2, dtype: Dtype = 'float32'): ModelVersion {
  return { version, dim, dtype, created_timestamp: micros(0) };
}

/** A store in a new directory with one view, closed when the test is done. */
export function testStore(view = viewOf('job'), clock = new TestClock()): Store {
  const store = openStore(tempDirectory(), clock.read, { residentBytes: RESIDENT_BYTES });
  onTestFinished(async () => store.close());
  store.createView(view);
  return store;
}

export interface TestRow {
  id: string;
  event: number;
  known?: number;
  /** Null for a delete. */
  vector: readonly number[] | null;
  /** Of int8; 1 where it is not said. */
  scale?: number;
}

/** Rows as a batch, in their order. `known` defaults to the event time. */
export function batchOf(
  rows: readonly TestRow[],
  dim = 2,
  dtype: Dtype = 'float32',
): RevisionBatch {
  const batch = new RevisionBatch(vectorBytes(dim, dtype), rows.length);
  for (const { id, event, known = event, vector, scale = 1 } of rows) {
    let payload = DELETED;
    if (vector !== null) {
      const times = dtype === 'int8' ? scale : undefined;
      writeNumbers(vector, dim, dtype, batch.nextPayload(), times);
      payload = batch.addFilled();
    }
    batch.addRow(id, event, known, payload);
  }
  return batch;
}
