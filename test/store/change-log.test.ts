import { expect, test } from 'vitest';

import { batchOf, testStore } from '../support/store.ts';

test('the log is read back from a seq on, the newest change first', async () => {
  const store = testStore();
  for (const id of ['a', 'b', 'c', 'd']) {
    await store.commit('job', 'v1', { rows: batchOf([{ id, event: 1, vector: [1, 2] }]) });
  }
  const { log } = store.version('job', 'v1');
  const back = (upTo: number, limit: number) =>
    log.readBack(upTo, limit).map(({ entityId }) => entityId);
  expect(back(store.snapshot, 10)).toEqual(['d', 'c', 'b', 'a']);
  expect(back(store.snapshot, 2)).toEqual(['d', 'c']);
  const [, second] = log.readBack(Number.MAX_SAFE_INTEGER, 2);
  expect(back(second!.seq, 10)).toEqual(['c', 'b', 'a']);
  expect(back(second!.seq - 1, 1)).toEqual(['b']);
  expect(back(0, 10)).toEqual([]);
});
