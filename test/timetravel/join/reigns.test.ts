import { expect, test } from 'vitest';

import { MICROS_MAX } from '../../../src/ground/time.ts';
import type { Dtype } from '../../../src/store/dtype.ts';
import type { Store } from '../../../src/store/store.ts';
import { type Reign, versionsOf } from '../../../src/timetravel/join/plan.ts';
import { withReigns } from '../../../src/timetravel/join/reigns.ts';
import { refOf } from '../../support/join-plan.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../../support/store.ts';

const KEPT = { kept_until: undefined };

/** The view `job` with v1, made at 1000, and more versions. */
function storeWith(clock: TestClock, ...more: string[]): Store {
  const store = testStore(viewOf('job'), clock);
  for (const version of more) store.addVersion('job', modelVersion(version));
  return store;
}

function reignsIn(store: Store, at?: number): readonly Reign[] {
  return withReigns(refOf(store), store.catalogue, at ?? store.snapshot, at).reigns!;
}

/** A snapshot that has all that was made until now. */
async function madeBy(store: Store): Promise<number> {
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [1, 0] }]) });
  return store.snapshot;
}

function reign(from: number, version: string, isRetired = false): Reign {
  return { from, version, isRetired };
}

test('the first version of a view reigns from the beginning of time, however late it was made', () => {
  const store = storeWith(new TestClock(), 'v2');
  expect(reignsIn(store)).toEqual([reign(-MICROS_MAX, 'v1')]);
});

test('each promotion and each rollback begins a reign at the moment of its commit', async () => {
  const clock = new TestClock();
  const store = storeWith(clock, 'v2');
  clock.now = 2_000;
  await store.promote('job', 'v2', KEPT);
  clock.now = 3_000;
  await store.rollBack('job', {});
  const reigns = [reign(-MICROS_MAX, 'v1'), reign(2_000, 'v2'), reign(3_000, 'v1')];
  expect(reignsIn(store)).toEqual(reigns);
  expect(versionsOf({ version: 'v1', reigns })).toEqual(['v1', 'v2']);
  // What changes no alias begins none.
  store.changeView('job', { max_age: 5 });
  store.addVersion('job', modelVersion('v3'));
  await store.promote('job', 'v1', KEPT);
  expect(reignsIn(store)).toEqual(reigns);
});

test('a promotion above the snapshot does not count, whatever its moment (A9)', async () => {
  const clock = new TestClock();
  const store = storeWith(clock, 'v2');
  const snapshot = await madeBy(store);
  await store.promote('job', 'v2', KEPT);
  expect(reignsIn(store, snapshot)).toEqual([reign(-MICROS_MAX, 'v1')]);
  expect(reignsIn(store)).toHaveLength(2);
});

test('a version is retired for good: another one of its name answers none of its rows', async () => {
  const clock = new TestClock();
  const store = storeWith(clock, 'v2');
  clock.now = 2_000;
  await store.promote('job', 'v2', KEPT);
  await store.retire('job', 'v1', {});
  const retired = [reign(-MICROS_MAX, 'v1', true), reign(2_000, 'v2')];
  expect(reignsIn(store)).toEqual(retired);
  clock.now = 3_000;
  store.addVersion('job', modelVersion('v1'));
  expect(reignsIn(store)).toEqual(retired);
  clock.now = 4_000;
  await store.promote('job', 'v1', KEPT);
  expect(reignsIn(store)).toEqual([...retired, reign(4_000, 'v1')]);
});

test('a view that was dropped and made anew has none of the reigns of before', async () => {
  const store = storeWith(new TestClock(), 'v2');
  await store.promote('job', 'v2', KEPT);
  expect(reignsIn(store)).toHaveLength(2);
  await store.dropView('job');
  store.createView(viewOf('job', 2, 'float32', 'v3'));
  expect(reignsIn(store)).toEqual([reign(-MICROS_MAX, 'v3')]);
});

test.each<[number, Dtype]>([
  [3, 'float32'],
  [2, 'float16'],
])('versions of which another has %d of %s are refused while it is there', async (dim, dtype) => {
  const store = storeWith(new TestClock());
  store.addVersion('job', modelVersion('v2', dim, dtype));
  // It has never been current.
  expect(reignsIn(store)).toHaveLength(1);
  await store.promote('job', 'v2', KEPT);
  expect(() => reignsIn(store)).toThrow(
    expect.objectContaining({
      code: 'BAD_REQUEST',
      message:
        'with alias_as_of one column has the vectors of all versions of job that were current, and ' +
        `v1 has 2 of float32, v2 has ${dim} of ${dtype}: name one version, as in job@v2, or each ` +
        'as a reference of its own',
    }),
  );
  await store.retire('job', 'v1', {});
  expect(withReigns(refOf(store), store.catalogue, store.snapshot, undefined)).toMatchObject({
    dim,
    dtype,
  });
});

test('where no version that was current by the snapshot is there any more, that is said', async () => {
  const store = storeWith(new TestClock(), 'v2');
  const snapshot = await madeBy(store);
  await store.promote('job', 'v2', KEPT);
  await store.retire('job', 'v1', {});
  expect(() => reignsIn(store, snapshot)).toThrow(
    expect.objectContaining({
      code: 'SNAPSHOT_UNAVAILABLE',
      message:
        `of the versions of job that were current up to the snapshot ${snapshot} none is there any ` +
        'more: ask at a later one, or name a version',
    }),
  );
});
