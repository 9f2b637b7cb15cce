import { expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { Retirement } from '../../src/rollout/retirement.ts';
import type { Store } from '../../src/store/store.ts';
import { TestClock, testStore, viewOf } from '../support/store.ts';

const LOG = { info: () => {}, warn: () => {} };
const QUIET = { isBound: () => false, isRead: () => false, log: LOG };

/** `job` with v1, which answered and is kept for 100 µs, and v2. */
async function startWithKept(): Promise<{ store: Store; clock: TestClock }> {
  const clock = new TestClock();
  const store = testStore(viewOf('job'), clock);
  const { v1 } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...v1!, version: 'v2' });
  await store.promote('job', 'v2', { kept_until: micros(store.clock() + 100) });
  return { store, clock };
}

function versionsOf({ catalogue }: Store): string[] {
  return Object.keys(catalogue.mustGetView('job').versions);
}

test('a version that answered before is retired when it was kept for as long as was asked', async () => {
  const { store, clock } = await startWithKept();
  const retirement = new Retirement({ ...QUIET, store });
  clock.now += 99;
  await retirement.round();
  expect(versionsOf(store)).toEqual(['v1', 'v2']);
  clock.now += 1;
  await retirement.round();
  expect(versionsOf(store)).toEqual(['v2']);
  expect(store.catalogue.mustGetView('job').aliases).toEqual({ current: 'v2' });
});

test('a version that was rolled back to stays, whenever it was to be retired', async () => {
  const { store, clock } = await startWithKept();
  await store.rollBack('job', {});
  clock.now += 1_000;
  await new Retirement({ ...QUIET, store }).round();
  expect(versionsOf(store)).toEqual(['v1', 'v2']);
});

test('a version that a source is bound to stays, and that is told once', async () => {
  const { store, clock } = await startWithKept();
  clock.now += 1_000;
  const told: object[] = [];
  const retirement = new Retirement({
    ...QUIET,
    store,
    isBound: (_view, version) => version === 'v1',
    log: { ...LOG, warn: (what) => told.push(what) },
  });
  await retirement.round();
  await retirement.round();
  expect(versionsOf(store)).toEqual(['v1', 'v2']);
  expect(told).toMatchObject([{ feature_view: 'job', version: 'v1' }]);
});

test('a version that something under way reads is retired when that has ended', async () => {
  const { store, clock } = await startWithKept();
  clock.now += 1_000;
  let isRead = true;
  const retirement = new Retirement({ ...QUIET, store, isRead: () => isRead });
  await retirement.round();
  expect(versionsOf(store)).toEqual(['v1', 'v2']);
  isRead = false;
  await retirement.round();
  expect(versionsOf(store)).toEqual(['v2']);
});
