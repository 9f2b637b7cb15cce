import fc from 'fast-check';
import { expect, test } from 'vitest';

import { MICROS_MAX } from '../../src/ground/time.ts';
import type { Revision } from '../../src/store/chunk.ts';
import { compareOrder, type OrderKey } from '../../src/store/order.ts';
import type { Store } from '../../src/store/store.ts';
import { type HistoryRange, readHistory, readLater } from '../../src/timetravel/history.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';

const ALL: HistoryRange = {
  from: -MICROS_MAX,
  to: MICROS_MAX,
  below: undefined,
  snapshot: MICROS_MAX,
};

async function commitEvents(store: Store, events: readonly number[], known = 900): Promise<void> {
  const rows = events.map((event, at) => ({ id: 'a', event, known, vector: [known, at] }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
}

function read(store: Store, range: Partial<HistoryRange>, limit: number): Revision[] {
  return readHistory(store.version('job', 'v1'), 'a', { ...ALL, ...range }, limit);
}

test('an entity without a revision has an empty history', () => {
  expect(read(testStore(), {}, 10)).toEqual([]);
});

test('history is newest first: what was learnt later about a moment comes first (A2)', async () => {
  const store = testStore();
  await commitEvents(store, [10, 30, 20], 100);
  await commitEvents(store, [20], 50);
  await commitEvents(store, [20], 200);
  const page = read(store, {}, 10);
  expect(page.map(({ event, known }) => [event, known])).toEqual([
    [30, 100],
    [20, 200],
    [20, 100],
    [20, 50],
    [10, 100],
  ]);
});

test('pages of any size follow each other to the whole, and of a range to the range (A2, A9)', async () => {
  const event = fc.integer({ min: 0, max: 60 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(event, { minLength: 1, maxLength: 120 }), { minLength: 1, maxLength: 6 }),
      fc.record({ from: event, to: event, limit: fc.integer({ min: 1, max: 50 }) }),
      async (commits, { from, to, limit }) => {
        const store = testStore(viewOf('job'), new TestClock(1_000));
        let snapshot = 0;
        for (const [at, events] of commits.entries()) {
          await commitEvents(store, events, 100 + (at % 3));
          if (at === commits.length >> 1) ({ snapshot } = store);
        }
        const whole = read(store, {}, 10_000);
        expect(whole).toEqual(whole.toSorted((a, b) => compareOrder(b, a)));
        expect(whole.length).toBe(store.version('job', 'v1').counters().revisions);

        const paged: Revision[] = [];
        for (;;) {
          const page = read(store, { from, to, snapshot, below: paged.at(-1) }, limit);
          paged.push(...page);
          if (page.length < limit) break;
        }
        const asked = whole.filter(
          (each) => each.event >= from && each.event <= to && each.seq <= snapshot,
        );
        expect(paged).toEqual(asked);
      },
    ),
    { numRuns: 30 },
  );
});

test('history ends with what was in force at the horizon, as far as it was known and stored then (A10)', async () => {
  const clock = new TestClock(1_000);
  const store = testStore(viewOf('job'), clock);
  await commitEvents(store, [10, 20, 30], 100);
  // Known, or stored, only after the horizon: not what was in force there.
  await commitEvents(store, [40], 1_500);
  clock.now = 2_000;
  await commitEvents(store, [25, 35, 50], 200);
  clock.now = 3_000;
  const shown = () => read(store, {}, 10).map(({ event }) => event);
  expect(shown()).toEqual([50, 40, 35, 30, 25, 20, 10]);
  await store.advanceHorizon('job', 1_200);
  expect(shown()).toEqual([50, 40, 35, 30]);
  expect(read(store, { to: 29 }, 10)).toEqual([]);
  await store.compact('job', 'v1');
  expect(shown()).toEqual([50, 40, 35, 30]);
  await store.advanceHorizon('job', 2_500);
  expect(shown()).toEqual([50]);
});

test('an erased entity has no history (A8)', async () => {
  const store = testStore();
  await commitEvents(store, [10, 20]);
  const { snapshot } = store;
  await store.erase({ entity: 'job' }, ['a']);
  expect(read(store, { snapshot }, 10)).toEqual([]);
  expect(later(store, { event: 0, known: 0, seq: 0 }, MICROS_MAX, 10)).toEqual([]);
});

function later(store: Store, after: OrderKey, snapshot: number, limit: number): Revision[] {
  return readLater(store.version('job', 'v1'), 'a', after, snapshot, limit);
}

test('history upwards is history downwards in reverse, from any revision on, before compaction as after it (A2, A9, A10)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 150 }), {
        minLength: 1,
        maxLength: 6,
      }),
      fc.record({
        at: fc.nat(),
        limit: fc.integer({ min: 1, max: 50 }),
        // Commits are made at 0, 20, 40 and so on.
        horizon: fc.integer({ min: -10, max: 110 }),
      }),
      async (commits, { at, limit, horizon }) => {
        const clock = new TestClock(0);
        const store = testStore(viewOf('job'), clock);
        const snapshots = [];
        for (const events of commits) {
          await commitEvents(store, events, 10 + ((clock.now * 7) % 30));
          snapshots.push(store.snapshot);
          clock.now += 20;
        }
        const all = read(store, {}, 10_000);
        const first = all.findIndex(
          ({ event, known, created }) => Math.max(event, known, created) <= horizon,
        );
        // With it stay those of its event time that it outranks: they tell duplicates (A4).
        const kept = all.filter(({ event }) => first < 0 || event >= all[first]!.event);
        clock.now += 1_000;
        await store.advanceHorizon('job', horizon);
        const pivot = all[at % all.length]!;
        const snapshot = snapshots[at % snapshots.length]!;
        const isAfter = (each: Revision) => compareOrder(each, pivot) > 0;
        const upwards = kept.filter((each) => isAfter(each) && each.seq <= snapshot).toReversed();
        for (const then of ['before', 'after']) {
          if (then === 'after') await store.compact('job', 'v1');
          expect(read(store, {}, 10_000)).toEqual(kept);
          expect(later(store, pivot, snapshot, limit)).toEqual(upwards.slice(0, limit));
        }
      },
    ),
    { numRuns: 30 },
  );
});

test('a page of a long history loads the chunks that it is from and no others', async () => {
  const store = testStore();
  for (let from = 0; from < 20_000; from += 5_000) {
    await commitEvents(
      store,
      Array.from({ length: 5_000 }, (_, at) => from + at),
    );
  }
  const { timelines, horizon, erasures } = store.version('job', 'v1');
  let loaded = 0;
  const counting = Object.create(timelines, {
    sealed: {
      value: (...args: Parameters<typeof timelines.sealed>) => {
        loaded++;
        return timelines.sealed(...args);
      },
    },
  }) as typeof timelines;
  const range = { ...ALL, below: { event: 9_000, known: 900, seq: 1 } };
  const page = readHistory({ timelines: counting, horizon, erasures }, 'a', range, 100);
  expect(page.map(({ event }) => event)).toEqual(
    Array.from({ length: 100 }, (_, at) => 8_999 - at),
  );
  expect(loaded).toBeLessThanOrEqual(3);
});
