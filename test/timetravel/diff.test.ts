import fc from 'fast-check';
import { expect, test } from 'vitest';

import { parseInstant, micros } from '../../src/ground/time.ts';
import type { Dtype } from '../../src/store/dtype.ts';
import type { Store } from '../../src/store/store.ts';
import { diffNdjson, type DiffPlan } from '../../src/timetravel/diff.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';

type Line = Record<string, unknown>;

const S = 1_000_000;
const at = (seconds: number) => `1970-01-01T00:00:${String(seconds).padStart(2, '0')}Z`;

type Asked = Partial<Question> & { from?: number; to?: number; minDistance?: number };

/** Asked between the seconds 10 and 20 where nothing else is said. */
function planOf(store: Store, asked: Asked = {}): DiffPlan {
  const { from = 10 * S, to = 20 * S, minDistance = 0, ...question } = asked;
  const view = store.catalogue.mustGetView('job');
  return {
    store,
    view,
    version: view.versions['v1']!,
    from: micros(from),
    to: micros(to),
    question: {
      boundary: 'inclusive',
      knowledge: 'event',
      knownAt: undefined,
      maxAge: ANY_AGE,
      now: 0,
      snapshot: store.snapshot,
      ...question,
    },
    minDistance,
  };
}

async function diff(
  store: Store,
  asked: Asked = {},
): Promise<{ lines: Line[]; summary: Line; text: string }> {
  const parts: Buffer[] = [];
  for await (const part of diffNdjson(planOf(store, asked))) parts.push(part);
  const text = Buffer.concat(parts).toString();
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { lines: lines.slice(0, -1), summary: lines.at(-1)!['__summary'] as Line, text };
}

async function storeWith(...rows: TestRow[]): Promise<Store> {
  const store = testStore(viewOf('job'), new TestClock(60 * S));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  return store;
}

test('entities that came, went and moved are told in the order of their ids, with how far', async () => {
  const store = await storeWith(
    { id: 'moved', event: 5 * S, vector: [1, 0] },
    { id: 'moved', event: 15 * S, vector: [1, 1] },
    { id: 'came', event: 15 * S, vector: [1, 0] },
    { id: 'went', event: 5 * S, vector: [1, 0] },
    { id: 'went', event: 20 * S, vector: null },
    { id: 'stayed', event: 5 * S, vector: [1, 0] },
    { id: 'later', event: 25 * S, vector: [1, 0] },
    { id: 'gone before', event: 5 * S, vector: null },
  );
  const { lines, summary } = await diff(store);
  const nobody = { status: 'NOT_FOUND', reason: null, event_timestamp: null };
  const present = (seconds: number) => ({
    status: 'PRESENT',
    reason: null,
    event_timestamp: at(seconds),
  });
  expect(lines).toEqual([
    {
      entity_id: 'came',
      change: 'added',
      cosine_similarity: null,
      from: nobody,
      to: present(15),
    },
    {
      entity_id: 'moved',
      change: 'changed',
      cosine_similarity: 0.7071067811865475,
      from: present(5),
      to: present(15),
    },
    {
      entity_id: 'went',
      change: 'removed',
      cosine_similarity: null,
      from: present(5),
      to: { status: 'NOT_FOUND', reason: 'DELETED', event_timestamp: at(20) },
    },
  ]);
  expect(summary).toEqual({
    entities: 4,
    added: 1,
    removed: 1,
    changed: 1,
    below_min_distance: 0,
    unchanged: 1,
    feature_view: 'job',
    version: 'v1',
    dim: 2,
    dtype: 'float32',
    snapshot: store.snapshot,
    question: {
      from: at(10),
      to: at(20),
      boundary: 'inclusive',
      knowledge: 'event',
      known_at: null,
      max_age: null,
      min_distance: 0,
    },
  });
});

test('a confirmation is no change, and neither is the same vector after another (A4)', async () => {
  const store = await storeWith(
    { id: 'confirmed', event: 5 * S, vector: [1, 0] },
    { id: 'confirmed', event: 15 * S, vector: [1, 0] },
    { id: 'there and back', event: 5 * S, vector: [1, 0] },
    { id: 'there and back', event: 12 * S, vector: [0, 1] },
    { id: 'there and back', event: 15 * S, vector: [1, 0] },
  );
  const { lines, summary } = await diff(store);
  expect(lines).toEqual([]);
  expect(summary).toMatchObject({ entities: 2, unchanged: 2 });
});

test('a vector of zeros has no angle, and has changed all the same', async () => {
  const store = await storeWith(
    { id: 'a', event: 5 * S, vector: [0, 0] },
    { id: 'a', event: 15 * S, vector: [1, 0] },
  );
  const { lines } = await diff(store, { minDistance: 2 });
  expect(lines).toMatchObject([{ change: 'changed', cosine_similarity: null }]);
});

test('vectors that moved less than is asked are counted and not shown', async () => {
  const store = await storeWith(
    { id: 'far', event: 5 * S, vector: [1, 0] },
    { id: 'far', event: 15 * S, vector: [-1, 0] },
    { id: 'near', event: 5 * S, vector: [1, 0] },
    { id: 'near', event: 15 * S, vector: [1, 0.01] },
    { id: 'longer', event: 5 * S, vector: [1, 0] },
    { id: 'longer', event: 15 * S, vector: [2, 0] },
  );
  const { lines, summary } = await diff(store, { minDistance: 0.001 });
  expect(lines).toMatchObject([{ entity_id: 'far', cosine_similarity: -1 }]);
  expect(summary).toMatchObject({ changed: 3, below_min_distance: 2 });
  expect((await diff(store)).lines).toHaveLength(3);
});

test('both moments are asked as a lookup is: boundary, knowledge, known_at and age hold (A1, A3, A5, A6)', async () => {
  const store = await storeWith(
    { id: 'a', event: 5 * S, vector: [1, 0] },
    { id: 'a', event: 20 * S, known: 30 * S, vector: [0, 1] },
  );
  const changes = async (asked: Asked) =>
    (await diff(store, asked)).lines.map(({ change, to }) => [change, (to as Line)['status']]);
  expect(await changes({})).toEqual([['changed', 'PRESENT']]);
  expect(await changes({ boundary: 'exclusive' })).toEqual([]);
  expect(await changes({ knowledge: 'input' })).toEqual([]);
  expect(await changes({ knowledge: 'input', to: 30 * S })).toEqual([['changed', 'PRESENT']]);
  expect(await changes({ knownAt: 29 * S })).toEqual([]);
  expect(await changes({ knowledge: 'served' })).toEqual([]);
  expect(await changes({ boundary: 'exclusive', maxAge: 10 * S })).toEqual([
    ['removed', 'OUTSIDE_MAX_AGE'],
  ]);
});

test('the same diff at the same snapshot is byte-identical, whatever was written since and while it runs (A9)', async () => {
  const store = await storeWith(
    ...Array.from({ length: 2_000 }, (_, each) => [
      { id: `e${each}`, event: 5 * S, vector: [1, each] },
      { id: `e${each}`, event: 15 * S, vector: each % 3 === 0 ? [1, each] : [each + 1, 1] },
    ]).flat(),
  );
  const { snapshot } = store;
  const before = await diff(store);
  const parts: Buffer[] = [];
  for await (const part of diffNdjson(planOf(store))) {
    parts.push(part);
    const { length } = parts;
    await store.commit('job', 'v1', {
      rows: batchOf([
        { id: 'e999', event: 16 * S, vector: [length, 1] },
        { id: `f${length}`, event: 5 * S, vector: [1, length] },
        { id: `a${length}`, event: 15 * S, vector: [1, length] },
      ]),
    });
    if (length === 3) await store.compact('job', 'v1');
  }
  expect(parts.length).toBeGreaterThan(6);
  expect(Buffer.concat(parts).toString()).toBe(before.text);
  expect((await diff(store, { snapshot })).text).toBe(before.text);
  expect((await diff(store)).text).not.toBe(before.text);
});

test('an erased entity is in no diff (A8)', async () => {
  const store = await storeWith({ id: 'a', event: 15 * S, vector: [1, 0] });
  await store.erase({ entity: 'job' }, ['a']);
  expect(await diff(store)).toMatchObject({ lines: [], summary: { entities: 0 } });
});

test('a diff that reaches before the horizon is refused, at its begin and on its way (A10)', async () => {
  const store = await storeWith(
    ...Array.from({ length: 600 }, (_, each) => ({
      id: `e${each}`,
      event: 15 * S,
      vector: [1, each],
    })),
  );
  const running = diffNdjson(planOf(store));
  expect((await running.next()).done).toBe(false);
  await store.advanceHorizon('job', 11 * S);
  await expect(running.next()).rejects.toThrow(
    `the horizon of job’s retention is ${at(11)}, which is snapshot`,
  );
  await expect(diff(store)).rejects.toMatchObject({ code: 'BEFORE_RETENTION' });
  await expect(diff(store, { from: 15 * S, knownAt: 10 * S })).rejects.toThrow('horizon');
  await expect(diff(store, { from: 11 * S, boundary: 'exclusive' })).rejects.toThrow('horizon');
  expect((await diff(store, { from: 11 * S })).lines).toHaveLength(600);
});

test('a view that is dropped and made anew during a diff ends it, rather than answer for the old one (A9)', async () => {
  const store = await storeWith({ id: 'a', event: 15 * S, vector: [1, 0] });
  const view = store.catalogue.mustGetView('job');
  const running = diffNdjson(planOf(store));
  await running.next();
  await store.dropView('job');
  store.createView(view);
  await expect(running.next()).rejects.toThrow('was dropped');
});

/** Whether the row says what one before it said of the same moment, known no later (A4). */
function isDuplicate(row: Required<TestRow>, before: readonly Required<TestRow>[]): boolean {
  return before.some(
    ({ id, event, known, vector }) =>
      id === row.id &&
      event === row.event &&
      known <= row.known &&
      String(vector) === String(row.vector),
  );
}

/** What a list of rows holds as of a moment: the last by event, known and arrival. */
function naiveWinner(rows: readonly Required<TestRow>[], id: string, asOf: number) {
  return rows
    .filter((row) => row.id === id && row.event <= asOf)
    .toSorted((a, b) => a.event - b.event || a.known - b.known)
    .at(-1);
}

function naiveCosine(a: readonly number[], b: readonly number[]): number | null {
  const lengths = Math.hypot(...a) * Math.hypot(...b);
  const dot = a.reduce((sum, each, index) => sum + each * b[index]!, 0);
  return lengths === 0 ? null : dot / lengths;
}

function closely([id, change, similarity]: unknown[]): unknown[] {
  return [id, change, typeof similarity === 'number' ? expect.closeTo(similarity, 12) : similarity];
}

const moment = fc.integer({ min: 0, max: 12 });

test.each<Dtype>(['float32', 'float16', 'int8'])(
  'a diff of %s is what comparing two lists one by one finds (A1–A4)',
  async (dtype) => {
    const number = fc.integer({ min: -2, max: 2 });
    const row = fc.record({
      id: fc.nat({ max: 40 }).map((n) => `é${n}`),
      event: moment.map((n) => n * S),
      lag: fc.nat({ max: 3 }),
      vector: fc.option(fc.tuple(number, number, number), { freq: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 200 }),
        fc.tuple(moment, moment),
        async (made, moments) => {
          const store = testStore(viewOf('job', 3, dtype), new TestClock(60 * S));
          const rows = made.map(({ lag, ...each }) => ({
            ...each,
            known: each.event + lag,
            scale: 1,
          }));
          await store.commit('job', 'v1', { rows: batchOf(rows, 3, dtype) });
          const kept = rows.filter((each, index) => !isDuplicate(each, rows.slice(0, index)));
          const [from, to] = moments.toSorted((a, b) => a - b).map((n) => n * S) as [
            number,
            number,
          ];
          const { lines, summary } = await diff(store, { from, to });
          const ids = [...new Set(rows.map(({ id }) => id))].toSorted((a, b) =>
            Buffer.compare(Buffer.from(a), Buffer.from(b)),
          );
          const expected = ids.flatMap((id) => {
            const before = naiveWinner(kept, id, from)?.vector ?? null;
            const after = naiveWinner(kept, id, to)?.vector ?? null;
            if (String(before) === String(after)) return [];
            if (before === null) return [[id, 'added', null]];
            if (after === null) return [[id, 'removed', null]];
            return [[id, 'changed', naiveCosine(before, after)]];
          });
          const told = lines.map((line) => [
            line['entity_id'],
            line['change'],
            line['cosine_similarity'],
          ]);
          expect(told).toEqual(expected.map(closely));
          const { entities, added, removed, changed, unchanged } = summary as Record<
            string,
            number
          >;
          expect([added! + removed! + changed!, entities]).toEqual([
            expected.length,
            expected.length + unchanged!,
          ]);
          const there = ids.filter((id) =>
            [from, to].some((each) => (naiveWinner(kept, id, each)?.vector ?? null) !== null),
          );
          expect(entities).toBe(there.length);
        },
      ),
      { numRuns: dtype === 'float32' ? 60 : 15 },
    );
  },
);

test('instants of a diff are exact to the microsecond (A1)', async () => {
  const from = parseInstant('2026-03-01T12:00:00.000001Z');
  const store = testStore(viewOf('job'), new TestClock(from + 10));
  await store.commit('job', 'v1', {
    rows: batchOf([{ id: 'a', event: from + 1, vector: [1, 0] }]),
  });
  expect((await diff(store, { from, to: from })).lines).toEqual([]);
  expect((await diff(store, { from, to: from + 1 })).lines).toHaveLength(1);
});
