import { expect, onTestFinished, test, vi } from 'vitest';

import type { ShadowTally } from '../../src/rollout/shadow-tally.ts';
import { Shadow } from '../../src/rollout/shadow.ts';
import type { Dtype } from '../../src/store/dtype.ts';
import { EntityIds } from '../../src/store/entity-ids.ts';
import type { Store } from '../../src/store/store.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';
import { seeded } from '../model/random.ts';
import { batchOf, modelVersion, testStore, viewOf } from '../support/store.ts';

const ENTITIES = 40;
const IDS = Array.from({ length: ENTITIES }, (_, at) => `e${at}`);

/** Of an entity, by its number; undefined where it has none. */
type Make = (at: number) => readonly number[] | undefined;

/** Any directions in the plane, none twice. */
const v1: Make = (at) => [Math.cos(at * 2.4), Math.sin(at * 2.4)];

async function fill(store: Store, version: string, make: Make, dim = 2, dtype?: Dtype) {
  const rows = IDS.flatMap((id, at) => {
    const vector = make(at);
    return vector === undefined ? [] : [{ id, event: 1, vector }];
  });
  await store.commit('job', version, { rows: batchOf(rows, dim, dtype) });
}

/** `job` with v1, and the candidate v2. */
async function startWith(v2: Make, dim = 2, dtype: Dtype = 'float32'): Promise<Store> {
  const store = testStore(viewOf('job'));
  store.addVersion('job', modelVersion('v2', dim, dtype));
  await fill(store, 'v1', v1);
  await fill(store, 'v2', v2, dim, dtype);
  return store;
}

function shadowOf(store: Store, queueMax = 100): Shadow {
  const random = seeded(3);
  const shadow = new Shadow({ store, sample: 1, queueMax, random: () => random(1_000) / 1_000 });
  onTestFinished(() => shadow.stop());
  return shadow;
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

function remember(store: Store, shadow: Shadow, ids: readonly string[] = IDS): void {
  shadow.remember(store.catalogue.mustGetView('job'), EntityIds.of(ids), latest(store));
}

/** What is found when the candidate was asked too. */
async function found(
  store: Store,
  shadow: Shadow,
  ids: readonly string[] = IDS,
): Promise<ShadowTally> {
  remember(store, shadow, ids);
  const tally = tallyOf(store, shadow)!;
  await expect.poll(() => tally.lookups + tally.dropped).toBe(1);
  expect(tally.dropped).toBe(0);
  return tally;
}

function tallyOf(store: Store, shadow: Shadow): ShadowTally | undefined {
  return shadow.tallyOf(store.catalogue.mustGetView('job'));
}

test('a candidate of the same vectors covers all, with the cosine 1 and the same neighbours', async () => {
  const store = await startWith(v1);
  const tally = await found(store, shadowOf(store));
  expect(tally).toMatchObject({ ids: 40, present: 40, covered: 40, coverage: 1 });
  expect(tally.cosine!.mean).toBeCloseTo(1, 6);
  expect(tally.cosine!.p5).toBeCloseTo(1, 6);
  expect(tally.overlap).toEqual({ lookups: 1, mean: 1, byChance: 10 / 39 });
});

test('a candidate that is turned by a right angle has the same neighbours, and cosines of 0', async () => {
  const store = await startWith((at) => {
    const [x, y] = v1(at)!;
    return [-y!, x!];
  });
  const tally = await found(store, shadowOf(store));
  expect(tally.cosine!.mean).toBeCloseTo(0, 6);
  expect(tally.overlap!.mean).toBe(1);
});

test('a candidate of another dim, and of int8, is compared by its neighbours alone', async () => {
  const store = await startWith(
    (at) => {
      const [x, y] = v1(at)!;
      return [Math.round(100 * x!), Math.round(100 * y!), 0];
    },
    3,
    'int8',
  );
  const tally = await found(store, shadowOf(store));
  expect(tally.coverage).toBe(1);
  expect(tally.cosine).toBeUndefined();
  expect(tally.overlap!.mean).toBeGreaterThan(0.8);
});

test('a candidate that says something else has the overlap of chance', async () => {
  const random = seeded(5);
  const store = await startWith(() => [random(1_000) - 500, random(1_000) - 500]);
  const shadow = shadowOf(store);
  for (let first = 0; first < ENTITIES; first++) {
    remember(store, shadow, [...IDS.slice(first), ...IDS.slice(0, first)]);
  }
  const tally = tallyOf(store, shadow)!;
  await expect.poll(() => tally.lookups).toBe(ENTITIES);
  expect(tally.overlap!.mean).toBeCloseTo(tally.overlap!.byChance, 1);
});

test('one of twenty entities is below the cosine that is told for them', async () => {
  // Two of forty point the other way.
  const store = await startWith((at) => (at < 2 ? v1(at)!.map((x) => -x) : v1(at)));
  const tally = await found(store, shadowOf(store));
  expect(tally.cosine!.mean).toBeCloseTo(36 / 40, 6);
  expect(tally.cosine!.p5).toBeCloseTo(-1, 6);
});

test('entities that the candidate lacks are not covered; those that nobody has do not count', async () => {
  const store = await startWith((at) => (at % 4 === 0 ? undefined : v1(at)));
  const shadow = shadowOf(store);
  const tally = await found(store, shadow, [...IDS, 'nobody', '']);
  expect(tally).toMatchObject({ ids: 42, present: 40, covered: 30, coverage: 0.75 });
});

test('fewer than 12 entities say nothing of neighbours', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store);
  expect((await found(store, shadow, IDS.slice(0, 11))).overlap).toBeUndefined();
});

test('both versions are asked at the snapshot that was answered from, whatever is stored since (A9)', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store);
  const question = latest(store);
  const rows = IDS.map((id) => ({ id, event: 2, vector: null }));
  await store.commit('job', 'v2', { rows: batchOf(rows) });
  shadow.remember(store.catalogue.mustGetView('job'), EntityIds.of(IDS), question);
  const tally = tallyOf(store, shadow)!;
  await expect.poll(() => tally.lookups).toBe(1);
  expect(tally.coverage).toBe(1);
});

test('what was found begins anew with another candidate, and is none without one', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store);
  expect((await found(store, shadow)).lookups).toBe(1);
  store.addVersion('job', modelVersion('v3'));
  expect(tallyOf(store, shadow)).toMatchObject({ lookups: 0, coverage: undefined });
  expect((await found(store, shadow)).coverage).toBe(0);

  await store.promote('job', 'v3', { kept_until: undefined });
  expect(tallyOf(store, shadow)).toBeUndefined();
  remember(store, shadow);
  expect(shadow.tallies()).toEqual([]);
});

test('a candidate of the name of one that was retired begins anew', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store);
  const before = await found(store, shadow);
  await store.retire('job', 'v2', {});
  store.addVersion('job', modelVersion('v2'));
  expect(tallyOf(store, shadow)).not.toBe(before);
});

test('lookups that come faster than they are asked again are dropped, and counted', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store, 2);
  for (let lookup = 0; lookup < 5; lookup++) remember(store, shadow);
  const tally = tallyOf(store, shadow)!;
  await expect.poll(() => tally.lookups).toBe(2);
  expect(tally.dropped).toBe(3);
});

test('of a lookup of more ids the first 501 are asked', async () => {
  const store = await startWith(v1);
  const many = Array.from({ length: 2_000 }, (_, at) => IDS[at % ENTITIES]!);
  expect((await found(store, shadowOf(store), many)).ids).toBe(501);
});

test('a candidate that is retired before it is asked is no error, and one that is stopped is asked no more', async () => {
  const store = await startWith(v1);
  const shadow = shadowOf(store);
  remember(store, shadow);
  const tally = tallyOf(store, shadow)!;
  await store.retire('job', 'v2', {});
  await vi.waitUntil(() => tally.lookups + tally.dropped === 1);

  const stopped = shadowOf(await startWith(v1));
  stopped.stop();
  remember(store, stopped);
  expect(stopped.tallies()).toMatchObject([{ tally: { lookups: 0, dropped: 0 } }]);
});

test('about so many lookups are picked as are asked for', async () => {
  const store = testStore();
  const random = seeded(9);
  const settings = { store, sample: 0.01, queueMax: 1, random: () => random(1e6) / 1e6 };
  const shadow = new Shadow(settings);
  const picked = Array.from({ length: 10_000 }, () => shadow.pick()).filter(Boolean);
  expect(picked.length).toBeGreaterThan(60);
  expect(picked.length).toBeLessThan(150);
});
