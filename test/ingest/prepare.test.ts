import { expect, test } from 'vitest';

import { type Prepared, vectorPreparer } from '../../src/ingest/prepare.ts';
import type { MappedRecord } from '../../src/ingest/source-record.ts';
import { numbersOf } from '../../src/store/dtype.ts';

const target = { version: 'v1', dim: 2, dtype: 'float32' } as const;

/** A record of each number, whose vector is that number twice. */
function records(numbers: readonly number[]): MappedRecord[] {
  return numbers.map((number, at) => ({
    kind: 'vector',
    entityId: `e${at}`,
    event: 0,
    known: 0,
    offset: at,
    vector: { numbers: [number, number] },
  }));
}

function vectorsOf({ rows }: Prepared): number[][] {
  return rows.payloads.map((payload) => [
    ...numbersOf(rows.payloadBytes(payload).slice(), target.dtype),
  ]);
}

test('batches that are prepared at once, before and after others were released, keep their vectors', async () => {
  const prepare = vectorPreparer(target);
  const first = await prepare(records([1, 2, 3]));
  const second = await prepare(records([4, 5, 6]));
  first.release?.();
  const third = await prepare(records([7, 8]));
  const larger = await prepare(records([9, 10, 11, 12]));
  expect([second, third, larger].map(vectorsOf)).toEqual([
    [4, 5, 6].map((number) => [number, number]),
    [7, 8].map((number) => [number, number]),
    [9, 10, 11, 12].map((number) => [number, number]),
  ]);
});

test('a batch that was released twice has its memory used by one other', async () => {
  const prepare = vectorPreparer(target);
  const first = await prepare(records([1]));
  first.release?.();
  first.release?.();
  const second = await prepare(records([2]));
  const third = await prepare(records([3]));
  expect([second, third].map(vectorsOf)).toEqual([[[2, 2]], [[3, 3]]]);
});

test('the memory of a batch that was released is no longer its own', async () => {
  const prepare = vectorPreparer(target);
  const first = await prepare(records([1]));
  const { rows } = first;
  const before = rows.payloadBytes(0);
  first.release?.();
  expect(rows.payloadBytes(0).byteLength).toBe(0);
  const second = await prepare(records([2]));
  expect(second.rows.payloadBytes(0).buffer).toBe(before.buffer);
});
