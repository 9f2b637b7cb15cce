import { setImmediate } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import type { Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { SkewCheck } from '../../src/timetravel/skew.ts';
import { seeded } from '../model/random.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../support/store.ts';

const BYTES = 8;

/** A check of every answer, and what it found to differ. */
function checkOf(store: Store, queueMax = 100_000): { skew: SkewCheck; found: object[] } {
  const found: object[] = [];
  const skew = new SkewCheck({
    store,
    sample: 1,
    queueMax,
    random: () => 0,
    onMismatch: (row) => found.push(row),
  });
  onTestFinished(() => skew.stop());
  return { skew, found };
}

function latest(store: Store): Question {
  return {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  };
}

/** Answers as the API does, from a buffer of its own, and has one row remembered. */
function serve(
  store: Store,
  skew: SkewCheck,
  ids: readonly string[],
  question: Question,
  row: number,
  spoil?: (matrix: Uint8Array) => void,
): void {
  const version = store.version('job', 'v1');
  const resolution = resolveMany(version, ids, question);
  const matrix = new Uint8Array(ids.length * BYTES);
  gather(version.vectors, resolution, matrix);
  spoil?.(matrix);
  skew.remember({
    view: store.catalogue.mustGetView('job'),
    version: 'v1',
    entityId: ids[row]!,
    question,
    resolution,
    row,
    bytes: matrix.subarray(row * BYTES, (row + 1) * BYTES),
  });
}

test('of 10,000 right answers none differs, whatever is written late, compacted, let go and erased meanwhile (A3, A9)', async () => {
  const clock = new TestClock(1_000);
  const store = testStore(viewOf('job'), clock);
  const { skew, found } = checkOf(store);
  const random = seeded(11);
  const state = { isDone: false };
  const idOf = (): string => `e${random(40)}`;
  const push = async (): Promise<void> => {
    while (!state.isDone) {
      clock.now += random(20);
      const rows = Array.from({ length: 20 }, () => {
        const event = random(clock.now);
        return {
          id: idOf(),
          event,
          known: event + random(500),
          vector: random(6) === 0 ? null : [random(9), 1],
        };
      });
      await store.commit('job', 'v1', { rows: batchOf(rows) });
    }
  };
  const keepUp = async (): Promise<void> => {
    for (let round = 0; !state.isDone; round++) {
      await store.advanceHorizon('job', clock.now - 5_000);
      await store.compact('job', 'v1');
      await store.erase({ entity: 'job' }, [`e${round % 4}`]);
      await store.liftErasure({ entity: 'job' }, [`e${(round + 2) % 4}`]);
    }
  };
  const { counts } = skew;
  const { passed_by } = counts;
  const asked = (): number => counts.checked + passed_by.erased + passed_by.retention;
  const works = [push(), push(), keepUp()];
  const snapshots = [store.snapshot];
  for (let served = 0; served < 10_000; served++) {
    if (served % 50 === 0) snapshots.push(store.snapshot);
    while (served - asked() > 100) await setImmediate();
    const asOf = random(4) === 0 ? undefined : clock.now - random(9_000);
    const question: Question = {
      asOf,
      boundary: BOUNDARIES[random(2)]!,
      knowledge: KNOWLEDGE[random(3)]!,
      knownAt: random(2) === 0 ? undefined : clock.now - random(4_000),
      maxAge: random(2) === 0 ? ANY_AGE : random(3_000),
      now: clock.now,
      snapshot: random(3) === 0 ? (snapshots.at(-1 - random(3)) ?? store.snapshot) : store.snapshot,
    };
    serve(store, skew, [idOf(), idOf(), idOf()], question, random(3));
  }
  await expect.poll(asked).toBe(10_000);
  state.isDone = true;
  await Promise.all(works);
  expect(found).toEqual([]);
  expect(counts).toMatchObject({ mismatches: 0, dropped: 0 });
  expect(counts.checked).toBeGreaterThan(9_000);
  expect(passed_by.retention).toBeGreaterThan(0);
});

test('a served vector that is not the stored one is counted and told, and nothing of it is told (A3)', async () => {
  const store = testStore();
  const { snapshot } = await store.commit('job', 'v1', {
    rows: batchOf([{ id: 'secret-id', event: 1, vector: [1, 2] }]),
  });
  const { skew, found } = checkOf(store);
  serve(store, skew, ['secret-id'], latest(store), 0, (matrix) => void (matrix[3]! ^= 1));
  await expect.poll(() => skew.counts).toMatchObject({ checked: 1, mismatches: 1 });
  expect(found).toEqual([{ view: 'job', version: 'v1', seq: snapshot, snapshot }]);
});

/** Does `work`, whose checks wait until what this gives is called. */
function heldBack(work: () => void): () => void {
  const held: (() => void)[] = [];
  vi.stubGlobal('setImmediate', (next: () => void) => void held.push(next));
  work();
  vi.unstubAllGlobals();
  return () => held.forEach((next) => next());
}

test('what retention, an erasure, its lift, or a drop has overtaken is passed by (A8, A10)', async () => {
  const clock = new TestClock(1_000);
  const store = testStore(viewOf('job'), clock);
  const { skew } = checkOf(store);
  const rows = ['a', 'b', 'c'].map((id) => ({ id, event: 1, vector: [1, 2] }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  const check = heldBack(() => {
    for (const id of ['a', 'b', 'c']) serve(store, skew, [id], latest(store), 0);
    serve(store, skew, ['c'], { ...latest(store), asOf: 500 }, 0);
  });
  clock.now = 2_000;
  await store.erase({ entity: 'job' }, ['a', 'b']);
  await store.liftErasure({ entity: 'job' }, ['b']);
  check();
  await expect
    .poll(() => skew.counts)
    .toEqual({
      checked: 2,
      mismatches: 0,
      dropped: 0,
      passed_by: { retention: 0, erased: 2, dropped: 0 },
    });
  const checkLater = heldBack(() => {
    serve(store, skew, ['c'], { ...latest(store), asOf: 500 }, 0);
    serve(store, skew, ['c'], latest(store), 0);
  });
  await store.advanceHorizon('job', 1_500);
  checkLater();
  await expect.poll(() => skew.counts).toMatchObject({ checked: 3, passed_by: { retention: 1 } });
  const checkLast = heldBack(() => serve(store, skew, ['c'], latest(store), 0));
  await store.dropView('job');
  store.createView({ ...viewOf('job'), created_timestamp: store.clock() });
  checkLast();
  await expect.poll(() => skew.counts).toMatchObject({ mismatches: 0, passed_by: { dropped: 1 } });
});

test('an answer of a version that was retired since, or made anew, cannot be asked again', async () => {
  const store = testStore(viewOf('job'));
  const { skew, found } = checkOf(store);
  store.addVersion('job', modelVersion('v2'));
  await store.promote('job', 'v2', { kept_until: undefined });
  const rows = batchOf([{ id: 'c', event: 1, vector: [1, 2] }]);
  await store.commit('job', 'v1', { rows });
  const check = heldBack(() => serve(store, skew, ['c'], latest(store), 0));
  await store.retire('job', 'v1', {});
  check();
  await expect.poll(() => skew.counts.passed_by.dropped).toBe(1);
  store.addVersion('job', modelVersion('v1'));
  await store.commit('job', 'v1', { rows });
  const checkLater = heldBack(() => serve(store, skew, ['c'], latest(store), 0));
  await store.retire('job', 'v1', {});
  store.addVersion('job', modelVersion('v1'));
  checkLater();
  await expect.poll(() => skew.counts.passed_by.dropped).toBe(2);
  expect(found).toEqual([]);
});

test('more than can be asked again is dropped and counted, and a stop ends it', async () => {
  const store = testStore();
  const { skew } = checkOf(store, 3);
  for (let served = 0; served < 5; served++) serve(store, skew, ['a'], latest(store), 0);
  expect(skew.counts.dropped).toBe(2);
  skew.stop();
  serve(store, skew, ['a'], latest(store), 0);
  await setImmediate();
  await setImmediate();
  expect(skew.counts).toMatchObject({ checked: 0, dropped: 2 });
});

test('so large a share of requests is picked as is asked for, and every row alike', () => {
  const store = testStore();
  const random = seeded(3);
  const skew = new SkewCheck({
    store,
    sample: 0.1,
    queueMax: 1,
    random: () => random(1_000_000) / 1_000_000,
    onMismatch: () => {},
  });
  const picked = Array.from({ length: 20_000 }, () => skew.pick(4)).filter(
    (row) => row !== undefined,
  );
  expect(picked.length).toBeGreaterThan(1_800);
  expect(picked.length).toBeLessThan(2_200);
  for (const row of [0, 1, 2, 3]) {
    expect(picked.filter((each) => each === row).length).toBeGreaterThan(400);
  }
  expect(skew.pick(0)).toBeUndefined();
});
