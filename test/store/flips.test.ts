import { existsSync } from 'node:fs';

import { expect, test, vi } from 'vitest';

import type { Store } from '../../src/store/store.ts';
import { batchOf, modelVersion, testStore } from '../support/store.ts';

const FOR_EVER = { kept_until: undefined };

/** `job` with v1, v2 and v3. */
function startWithThree(): Store {
  const store = testStore();
  store.addVersion('job', modelVersion('v2'));
  store.addVersion('job', modelVersion('v3'));
  return store;
}

async function push(store: Store, version: string): Promise<void> {
  const rows = batchOf([{ id: 'a', event: store.snapshot, vector: [1, 0] }]);
  await store.commit('job', version, { rows });
}

test('nothing that runs meanwhile sees a current version that no snapshot has yet (A9)', async () => {
  const store = startWithThree();
  await push(store, 'v3');
  const flips = [
    async () => store.promote('job', 'v2', FOR_EVER),
    async () => store.rollBack('job', {}),
    async () => store.promote('job', 'v3', FOR_EVER),
  ];
  for (const flip of flips) {
    const before = store.catalogue.lastEvent();
    const flipped = flip();
    // Each step of the program that can come between two of the flip's.
    for (let step = 0; step < 100; step++) {
      expect(store.catalogue.lastEvent()).toBeLessThanOrEqual(store.snapshot);
      await Promise.resolve();
    }
    await flipped;
    expect(store.catalogue.lastEvent()).toBeGreaterThan(before);
  }
});

test('of promotions that are asked for at once each is whole, and the same one is done once', async () => {
  const store = startWithThree();
  const asked = ['v2', 'v2', 'v3'].map(async (version) => store.promote('job', version, FOR_EVER));
  await Promise.all([...asked, push(store, 'v1')]);
  const promoted = store.catalogue.history('job').filter(({ type }) => type === 'promoted');
  expect(promoted.map(({ view }) => view.aliases)).toEqual([
    { current: 'v2', candidate: 'v3', previous: 'v1' },
    { current: 'v3', previous: 'v2' },
  ]);
});

test('a version that is retired while its promotion waits for the writer is not promoted', async () => {
  const store = startWithThree();
  const [committed, promoted, retired] = await Promise.allSettled([
    push(store, 'v1'),
    store.promote('job', 'v2', FOR_EVER),
    store.retire('job', 'v2', {}),
  ]);
  expect([committed.status, retired.status]).toEqual(['fulfilled', 'fulfilled']);
  expect(promoted).toMatchObject({ status: 'rejected', reason: { code: 'VERSION_NOT_FOUND' } });
  expect(store.catalogue.mustGetView('job').aliases).toEqual({ current: 'v1', candidate: 'v3' });
});

test('files of a retired version that cannot be unlinked are left to the next start', async () => {
  const store = startWithThree();
  const folder = store.catalogue.folder('job', 'v2');
  const busy = Object.assign(new Error('busy'), { code: 'EBUSY', syscall: 'rm' });
  vi.spyOn(store.catalogue, 'finishDrop').mockRejectedValueOnce(busy);
  await expect(store.retire('job', 'v2', {})).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('job@v2 is gone, and its files could not be unlinked'),
  });
  expect(Object.keys(store.catalogue.mustGetView('job').versions)).toEqual(['v1', 'v3']);
  expect(existsSync(folder)).toBe(true);
  store.addVersion('job', modelVersion('v2'));
  await push(store, 'v2');
  expect(store.version('job', 'v2').counters().revisions).toBe(1);
  await store.retire('job', 'v2', {});
  expect(existsSync(folder)).toBe(false);
});
