import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';

import { isEntityId } from '../../../src/store/entity-id.ts';
import { NO_HORIZON } from '../../../src/store/horizon.ts';
import { openPinned, type PageVersion, pinVersion } from '../../../src/store/pinned-version.ts';
import type { Store } from '../../../src/store/store.ts';
import { idOrder } from '../../../src/timetravel/join/id-order.ts';
import { resolveWindow } from '../../../src/timetravel/join/resolve-window.ts';
import { resolveSpine } from '../../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../../src/timetravel/question.ts';
import type { Resolution } from '../../../src/timetravel/resolve.ts';
import type { IdColumn } from '../../../src/timetravel/spine/window.ts';
import { REASONS, STATUSES } from '../../../src/timetravel/status.ts';
import { seeded } from '../../model/random.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../../support/store.ts';

/** Ids as a window has them: each distinct one once, in the order of `shuffle`. */
function columnOf(ids: readonly string[], shuffle: (a: string, b: string) => number): IdColumn {
  const distinct = [...new Set(ids)].filter((id) => isEntityId(id)).toSorted(shuffle);
  const places = new Map(distinct.map((id, at) => [id, at]));
  return { ids: distinct, ordinals: Int32Array.from(ids, (id) => places.get(id) ?? -1) };
}

function pagesOf(store: Store): PageVersion {
  const { version, release } = pinVersion(store.version('job', 'v1'));
  onTestFinished(release);
  return openPinned(version);
}

const QUESTION: Question = {
  asOf: undefined,
  boundary: 'inclusive',
  knowledge: 'event',
  knownAt: undefined,
  maxAge: ANY_AGE,
  now: 0,
  snapshot: Number.MAX_SAFE_INTEGER,
};

function rowsOf(resolution: Resolution): unknown[][] {
  const { statuses, reasons, vectorIds, events, knowns, createds, seqs } = resolution;
  return Array.from(statuses, (status, row) => [
    STATUSES[status],
    REASONS[reasons[row]!],
    vectorIds[row],
    events[row],
    knowns[row],
    createds[row],
    seqs[row],
  ]);
}

test('an infinite moment asks for the latest, whose age is measured from now (A3, A6)', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 5, vector: [1, 1] }]) });
  const ids = { ids: ['a'], ordinals: Int32Array.of(0, 0) };
  const moments = Float64Array.of(Number.POSITIVE_INFINITY, 10);
  const statusesAt = (now: number): unknown[] => {
    const question = { ...QUESTION, now, maxAge: 5 };
    const { statuses } = resolveWindow(pagesOf(store), ids, moments, question, true);
    return Array.from(statuses, (status) => STATUSES[status]);
  };
  expect(statusesAt(10)).toEqual(['PRESENT', 'PRESENT']);
  expect(statusesAt(11)).toEqual(['OUTSIDE_MAX_AGE', 'PRESENT']);
});

test('a row of no id says so, one of no moment that first, and the others are answered', async () => {
  const store = testStore();
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 5, vector: [1, 1] }]) });
  const ids = { ids: ['a', 'b'], ordinals: Int32Array.of(-1, 0, -1, 0, 1, 0, 1) };
  const moments = Float64Array.of(5, 5, Number.NaN, Number.NaN, 5, 4, Number.NaN);
  const { statuses, reasons } = resolveWindow(pagesOf(store), ids, moments, QUESTION, true);
  const words = Array.from(statuses, (status, row) => REASONS[reasons[row]!] ?? STATUSES[status]);
  expect(words).toEqual([
    'BAD_ENTITY_ID',
    'PRESENT',
    'BAD_TIMESTAMP',
    'BAD_TIMESTAMP',
    'NOT_FOUND',
    'NOT_FOUND',
    'BAD_TIMESTAMP',
  ]);
});

test('a window of no rows has no answers', () => {
  const none = { ids: [], ordinals: new Int32Array(0) };
  expect(
    rowsOf(resolveWindow(pagesOf(testStore()), none, new Float64Array(0), QUESTION, true)),
  ).toEqual([]);
});

/** What random histories had, over all of them: a history that never erases proves nothing of it. */
const seen = new Set<string>();

test('any window is answered row by row as a spine is that is read one row after the other (A3)', async () => {
  const shapes = fc.record({
    seed: fc.nat(),
    entities: fc.constantFrom(1, 4, 60),
    commits: fc.integer({ min: 0, max: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(shapes, async ({ seed, entities, commits }) => {
      const random = seeded(seed);
      const clock = new TestClock();
      const store = testStore(viewOf('job'), clock);
      const snapshots = [store.snapshot];
      for (let commit = 0; commit < commits; commit++) {
        const rows = Array.from({ length: 350 }, (): TestRow => {
          // Mostly later than those before, some of them late.
          const event = random(5) === 0 ? random(3_000) : commit * 300 + random(300);
          const vector = random(9) === 0 ? null : [random(40), event];
          return { id: `e${random(entities)}`, event, known: event + random(200), vector };
        });
        await store.commit('job', 'v1', { rows: batchOf(rows) });
        snapshots.push(store.snapshot);
        clock.now += random(600);
        const what = random(10);
        if (what === 0) await store.erase({ entity: 'job' }, [`e${random(entities)}`, 'nobody']);
        if (what === 1) await store.advanceHorizon('job', clock.now - 900);
        if (what === 2) await store.compact('job', 'v1');
      }
      const version = store.version('job', 'v1');
      const pages = pagesOf(store);
      const names = ['', 'nobody', 'a\0b', 'x'.repeat(1_025), '\uD800', 'é'];
      const count = random(600);
      const ids = Array.from({ length: count }, () =>
        random(12) === 0 ? names[random(names.length)]! : `e${random(entities + 1)}`,
      );
      const moments = Float64Array.from({ length: count }, () =>
        random(15) === 0 ? Number.NaN : random(3_500) - 100,
      );
      const column = columnOf(ids, () => random(3) - 1);
      for (let ask = 0; ask < 6; ask++) {
        const question: Question = {
          ...QUESTION,
          knowledge: KNOWLEDGE[random(3)]!,
          boundary: BOUNDARIES[random(2)]!,
          knownAt: random(3) === 0 ? random(3_000) : undefined,
          maxAge: random(2) === 0 ? random(800) : ANY_AGE,
          now: random(4_000),
          snapshot: snapshots[random(snapshots.length)]!,
        };
        const expected = rowsOf(resolveSpine(version, ids, moments, question));
        expect(rowsOf(resolveWindow(pages, column, moments, question, true))).toEqual(expected);
        // Without what only some ask for, the rest is the same.
        const short = resolveWindow(pages, column, moments, question, false);
        expect(rowsOf(short).map((row) => row.slice(0, 4))).toEqual(
          expected.map((row) => row.slice(0, 4)),
        );
        for (const [status, reason] of expected as string[][]) seen.add(reason ?? status!);
      }
      if (version.horizon !== NO_HORIZON) seen.add('a horizon');
    }),
    { numRuns: 12, seed: 1 },
  );
  // That a version is retired is said of several, where rows have that of their moment.
  const reasons = REASONS.slice(1).filter((reason) => reason !== 'VERSION_RETIRED');
  const all = [...STATUSES.filter((status) => status !== 'INVALID'), ...reasons];
  expect([...all, 'a horizon'].filter((what) => !seen.has(what!))).toEqual([]);
});

function order(ids: readonly string[]): string[] {
  return Array.from(idOrder(ids), (at) => ids[at]!);
}

test('ids come about in the order of the store: in it where they are ASCII and long alike', () => {
  expect(order([])).toEqual([]);
  expect(order(['b', 'a', 'ab', 'abc', 'abcd', 'aa'])).toEqual([
    'a',
    'aa',
    'ab',
    'abc',
    'abcd',
    'b',
  ]);
  const random = seeded(2);
  for (const prefix of ['', 'member-', 'x'.repeat(40)]) {
    const ids = Array.from({ length: 3_000 }, () => {
      const tail = random(3) === 0 ? 'same-for-a-while-' : '';
      return `${prefix}${tail}${String(random(1_000_000)).padStart(random(9), '0')}`;
    });
    const distinct = [...new Set(ids)];
    expect(order(distinct)).toEqual(distinct.toSorted((a, b) => (a < b ? -1 : 1)));
  }
});

test('any ids, whatever their characters, are each in the order once', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1 })), (ids) => {
      expect([...idOrder(ids)].toSorted((a, b) => a - b)).toEqual([...ids.keys()]);
    }),
  );
});
