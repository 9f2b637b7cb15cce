import { expect, test } from 'vitest';

import { type DeadLetter, RevisionBatch } from '../../src/store/batch.ts';
import { batchOf, testStore } from '../support/store.ts';

function letter(offset: number, value = 'no JSON', reason = 'BAD_RECORD'): DeadLetter {
  return {
    position: { source: 's', topic: 't', partition: 0, offset },
    reason,
    message: 'expected JSON',
    key: null,
    value: Buffer.from(value),
    headers: {},
    timestamp: 0,
  };
}

/** A store with the dead letters of these offsets. */
async function storeWith(...offsets: number[]) {
  const store = testStore();
  const deadLetters = offsets.map((offset) => letter(offset));
  await store.commit('job', 'v1', { rows: new RevisionBatch(8, 0), deadLetters });
  const reasons = () => {
    const { environment, deadLetters: stored } = store.version('job', 'v1');
    environment.refresh();
    return stored.list(10).map(({ position, reason }) => [position.offset, reason]);
  };
  return { store, reasons };
}

function rowOf(id: string, offset: number): RevisionBatch {
  const batch = new RevisionBatch(8);
  batch.nextPayload().fill(0);
  batch.addRow(id, 1, 1, batch.addFilled(), offset);
  return batch;
}

test('a dead letter that is tried again leaves in the commit of its revision, which says where it was read', async () => {
  const { store, reasons } = await storeWith(3, 4);
  const { position } = letter(3);
  const result = await store.commit('job', 'v1', { rows: rowOf('a', 3), takenOut: [position] });
  expect(result).toMatchObject({ fenced: false, outcomes: ['latest'] });
  expect(reasons()).toEqual([[4, 'BAD_RECORD']]);
  const [change] = store.version('job', 'v1').log.read(0, store.snapshot, 10);
  expect(change!.position).toEqual(position);
});

test('one that fails again stays, with its new reason', async () => {
  const { store, reasons } = await storeWith(3);
  const again = letter(3, 'no JSON', 'BAD_VECTOR');
  const takenOut = [again.position];
  const rows = new RevisionBatch(8, 0);
  await store.commit('job', 'v1', { rows, takenOut, deadLetters: [again] });
  expect(reasons()).toEqual([[3, 'BAD_VECTOR']]);
});

test('when one of them is gone by the time of the commit, nothing is stored', async () => {
  const { store, reasons } = await storeWith(3);
  const takenOut = [letter(3).position, letter(4).position];
  const result = await store.commit('job', 'v1', { rows: rowOf('a', 4), takenOut });
  expect(result).toMatchObject({ fenced: true, outcomes: [] });
  expect(reasons()).toEqual([[3, 'BAD_RECORD']]);
  expect(store.version('job', 'v1').counters().revisions).toBe(0);
});

test('the dead letter of an erased entity is not brought back by trying it again (A8)', async () => {
  const { store, reasons } = await storeWith(3);
  await store.erase({ entity: 'job' }, ['a']);
  const takenOut = [letter(3).position];
  const result = await store.commit('job', 'v1', { rows: rowOf('a', 3), takenOut });
  expect(result.outcomes).toEqual(['erased']);
  expect(reasons()).toEqual([]);
  expect(store.version('job', 'v1').counters().revisions).toBe(0);
});

test('those of one partition are read from an offset on, and counted', async () => {
  const { store } = await storeWith(1, 3, 9);
  const other = { ...letter(5), position: { source: 's', topic: 't', partition: 1, offset: 5 } };
  const rows = new RevisionBatch(8, 0);
  await store.commit('job', 'v1', { rows, deadLetters: [other] });
  const { deadLetters, environment } = store.version('job', 'v1');
  environment.refresh();
  const partition = { source: 's', topic: 't', partition: 0 };
  const offsets = (from: number, limit: number) =>
    deadLetters.ofPartition(partition, from, limit).map(({ position }) => position.offset);
  expect(offsets(0, 10)).toEqual([1, 3, 9]);
  expect(offsets(3, 1)).toEqual([3]);
  expect(offsets(10, 10)).toEqual([]);
  expect(deadLetters.countOfPartition(partition, 2)).toBe(2);
});

test('changes between two seqs are counted', async () => {
  const store = testStore();
  const rows = batchOf(['a', 'b', 'c'].map((id) => ({ id, event: 1, vector: [1, 2] })));
  const { snapshot } = await store.commit('job', 'v1', { rows });
  const { log } = store.version('job', 'v1');
  expect(log.countBetween(0, snapshot)).toBe(3);
  expect(log.countBetween(snapshot - 1, snapshot)).toBe(1);
  expect(log.countBetween(snapshot, snapshot)).toBe(0);
});
