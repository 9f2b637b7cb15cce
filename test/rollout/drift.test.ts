import { expect, test, vi } from 'vitest';

import { Drift, type DriftBounds } from '../../src/rollout/drift.ts';
import type { Store } from '../../src/store/store.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../support/store.ts';

const BOUNDS: DriftBounds = {
  norm_spread_max: 0.5,
  duplicates_more_max: 0.05,
  centroid_shift_max: 0.1,
};
const ENTITIES = 1_100;

/** Degrees, and how far apart the entities' directions lie about them. */
interface Made {
  at: number;
  length?: number;
  event?: number;
  from?: number;
  spread?: number;
}

async function fill(store: Store, version: string, { at, spread = 0.02, ...made }: Made) {
  const { length = 1, event = 1, from = 0 } = made;
  const rows = Array.from({ length: ENTITIES }, (_, nth) => {
    const angle = ((at + spread * (nth - ENTITIES / 2)) * Math.PI) / 180;
    const vector = [length * Math.cos(angle), length * Math.sin(angle)];
    return { id: `e${from + nth}`, event, vector };
  });
  await store.commit('job', version, { rows: batchOf(rows) });
}

function startWith(clock = new TestClock()): { store: Store; drift: Drift; errors: object[] } {
  const store = testStore(viewOf('job'), clock);
  const errors: object[] = [];
  const log = { error: (what: object) => errors.push(what) };
  return { store, drift: new Drift({ store, bounds: BOUNDS, log }), errors };
}

function measured(store: Store, drift: Drift, version = 'v1') {
  return drift.of('job', store.catalogue.mustGetView('job').versions[version]!);
}

function addV2(store: Store): void {
  const { v1 } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...v1!, version: 'v2' });
}

test('vectors as those of the baseline are well, and ones of another direction are a shift of it', async () => {
  const { store, drift } = startWith();
  await fill(store, 'v1', { at: 0 });
  await drift.round();
  expect(measured(store, drift)).toMatchObject({ off: [], zeros: 0, notFinite: 0, duplicates: 0 });
  expect(measured(store, drift)!.normMean).toBeCloseTo(1, 6);
  expect(measured(store, drift)!.centroidShift).toBeCloseTo(0, 6);

  await fill(store, 'v1', { at: 60, event: 2 });
  await drift.round();
  expect(measured(store, drift)!.centroidShift).toBeCloseTo(1 - Math.cos(Math.PI / 3), 6);
  expect(measured(store, drift)!.off).toEqual(['centroid_shift']);
});

test('the newest thousand entities are looked at, each as it is now, and not all that is stored', async () => {
  const { store, drift } = startWith();
  await fill(store, 'v1', { at: 0, from: 0 });
  await fill(store, 'v1', { at: 90, from: 5_000, length: 3 });
  // A late record changes nothing of what the entity is now (A4).
  await fill(store, 'v1', { at: 90, from: 5_000, length: 9, event: 0 });
  await drift.round();
  const { vectors, normMean } = measured(store, drift)!;
  expect(vectors).toBeGreaterThanOrEqual(1_000);
  expect(vectors).toBeLessThan(1_032);
  expect(normMean).toBeCloseTo(3, 6);
});

test('zeros, lengths far apart and more duplicates than the baseline has are off', async () => {
  const { store, drift } = startWith();
  await fill(store, 'v1', { at: 0 });
  await drift.round();
  const rows = Array.from({ length: ENTITIES }, (_, nth) => {
    return { id: `e${nth}`, event: 2, vector: nth === 900 ? [0, 0] : [nth % 2 === 0 ? 1 : 9, 0] };
  });
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  await drift.round();
  expect(measured(store, drift)).toMatchObject({
    zeros: 1,
    off: ['zero_vectors', 'norm_spread', 'duplicates'],
  });
});

test('fewer than a thousand vectors have no baseline, and entities that are deleted do not count (A7)', async () => {
  const { store, drift } = startWith();
  const rows = ['a', 'b', 'c'].map((id) => ({ id, event: 1, vector: id === 'c' ? null : [2, 0] }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  await drift.round();
  expect(measured(store, drift)).toMatchObject({ vectors: 2, duplicates: 0.5, off: [] });
  expect(measured(store, drift)!.centroidShift).toBeUndefined();
  expect(store.catalogue.baseline('job', 'v1')).toBeUndefined();
});

test('a version is held against what it was when it began to answer, and a rollback finds that again', async () => {
  const clock = new TestClock();
  const { store, drift } = startWith(clock);
  const baseline = (version: string) => measured(store, drift, version)?.baseline;
  addV2(store);
  await fill(store, 'v1', { at: 0 });
  await fill(store, 'v2', { at: 0 });
  await drift.round();
  const first = clock.now;
  expect([baseline('v1'), baseline('v2')]).toEqual([first, first]);

  await fill(store, 'v2', { at: 45, event: 2 });
  clock.now += 100;
  await drift.round();
  expect(measured(store, drift, 'v2')!.off).toEqual(['centroid_shift']);
  await store.promote('job', 'v2', { kept_until: undefined });
  clock.now += 100;
  await drift.round();
  expect([baseline('v1'), baseline('v2')]).toEqual([first, first + 200]);
  expect(measured(store, drift, 'v2')!.off).toEqual([]);

  await store.rollBack('job', {});
  clock.now += 100;
  await drift.round();
  await store.promote('job', 'v2', { kept_until: undefined });
  await drift.round();
  expect([baseline('v1'), baseline('v2')]).toEqual([first, first + 200]);
});

test('a baseline outlives the process and goes with its version: one of that name has its own', async () => {
  const { store, drift } = startWith();
  addV2(store);
  await fill(store, 'v2', { at: 0 });
  await drift.round();
  const again = new Drift({ store, bounds: BOUNDS, log: { error: () => {} } });
  await fill(store, 'v2', { at: 90, event: 2 });
  await again.round();
  expect(measured(store, again, 'v2')!.off).toEqual(['centroid_shift']);

  await store.retire('job', 'v2', {});
  expect(store.catalogue.baseline('job', 'v2')).toBeUndefined();
  addV2(store);
  expect(measured(store, again, 'v2')).toBeUndefined();
  await fill(store, 'v2', { at: 90 });
  await again.round();
  expect(measured(store, again, 'v2')!.off).toEqual([]);
});

test('how fresh a version is does not wait for a round', async () => {
  const clock = new TestClock(1_000);
  const { store, drift } = startWith(clock);
  const { v1 } = store.catalogue.mustGetView('job').versions;
  expect(drift.newestOf('job', v1!)).toBeUndefined();
  const [first, last] = [700, 900].map((event) => ({ id: 'a', event, vector: [event, 1] }));
  await store.commit('job', 'v1', { rows: batchOf([last!]) });
  clock.now = 2_000;
  await store.commit('job', 'v1', { rows: batchOf([first!]) });
  expect(drift.newestOf('job', v1!)).toEqual({ event: 900, created: 2_000 });
});

test('a version that goes while it is measured, or is made anew, is left out, and the others are measured', async () => {
  const { store, drift, errors } = startWith();
  addV2(store);
  await fill(store, 'v1', { at: 0 });
  await fill(store, 'v2', { at: 0 });
  for (const dim of [undefined, 3]) {
    const round = drift.round();
    await store.retire('job', 'v2', {});
    if (dim !== undefined) store.addVersion('job', modelVersion('v2', dim));
    else addV2(store);
    await round;
    expect(measured(store, drift)).toMatchObject({ off: [] });
    expect(measured(store, drift, 'v2')).toBeUndefined();
  }
  expect(errors).toEqual([]);
  expect(store.catalogue.baseline('job', 'v2')).toBeUndefined();
});

test('a round that is stopped in the middle reads nothing more', async () => {
  const { store, drift, errors } = startWith();
  await fill(store, 'v1', { at: 0 });
  const version = vi.spyOn(store, 'version');
  const round = drift.round();
  drift.stop();
  const before = version.mock.calls.length;
  await round;
  expect(version).toHaveBeenCalledTimes(before);
  expect(errors).toEqual([]);
});

test('a round that is stopped reads nothing more', async () => {
  const { store, drift, errors } = startWith();
  await fill(store, 'v1', { at: 0 });
  const version = vi.spyOn(store, 'version');
  drift.stop();
  await drift.round();
  expect(version).not.toHaveBeenCalled();
  expect(measured(store, drift)).toBeUndefined();
  expect(errors).toEqual([]);
});
