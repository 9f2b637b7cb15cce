import { expect, test, vi } from 'vitest';

import { NotFlushed } from '../../src/store/environment.ts';
import type { Store } from '../../src/store/store.ts';
import { batchOf, testStore, viewOf } from '../support/store.ts';

/** The next flush of a view's files fails, a while after it was asked for. */
function failFlush(store: Store, view: string): void {
  vi.spyOn(store.version(view, 'v1').environment, 'flushed').mockImplementationOnce(async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    throw new NotFlushed('EIO');
  });
}

const one = (id: string, event: number) => batchOf([{ id, event, vector: [event, 1] }]);

test('after a flush that failed no snapshot holds what came with it or after it (A9)', async () => {
  const store = testStore();
  store.createView(viewOf('member'));
  const { snapshot } = await store.commit('job', 'v1', { rows: one('a', 1) });
  failFlush(store, 'job');
  const asked = [
    store.commit('job', 'v1', { rows: one('a', 2) }),
    store.commit('member', 'v1', { rows: one('b', 2) }),
  ];
  for (const result of await Promise.allSettled(asked)) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'STORE_UNAVAILABLE' } });
  }
  expect(store.snapshot).toBe(snapshot);
  expect(store.failure).toContain('did not take a flush');
  const told = store.changes({ after: snapshot, upTo: 1e9, limit: 9 });
  expect(told.items).toEqual([]);
});

test('a flush that fails while what was erased is removed ends all writing (A8)', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: one('a', 1) });
  failFlush(store, 'job');
  await store.erase({ entity: 'job' }, ['a']);
  expect(store.failure).toContain('did not take a flush');
  await expect(store.commit('job', 'v1', { rows: one('b', 1) })).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
  });
});
