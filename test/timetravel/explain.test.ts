import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { MICROS_MAX } from '../../src/ground/time.ts';
import type { Revision } from '../../src/store/chunk.ts';
import { compareOrder } from '../../src/store/order.ts';
import type { Store } from '../../src/store/store.ts';
import { explain, type Judged } from '../../src/timetravel/explain.ts';
import { readHistory } from '../../src/timetravel/history.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';

function questionOf(store: Store, question: Partial<Question> = {}): Question {
  return {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: store.clock(),
    snapshot: store.snapshot,
    ...question,
  };
}

function ask(store: Store, question: Partial<Question> = {}, limit = 100) {
  const asked = questionOf(store, question);
  const version = store.version('job', 'v1');
  const explained = explain(version, 'a', asked, store.snapshot, limit);
  const status = STATUSES[explained.resolution.statuses[0]!];
  return {
    ...explained,
    answer: REASONS[explained.resolution.reasons[0]!] ?? status,
    told: explained.revisions.map(
      ({ revision, verdict, rule }) => `${revision.event} ${verdict} ${rule}`,
    ),
    whys: explained.revisions.map(({ why }) => why),
  };
}

async function push(store: Store, ...rows: Omit<TestRow, 'id'>[]): Promise<number> {
  const batch = batchOf(rows.map((row) => ({ id: 'a', ...row })));
  const { snapshot } = await store.commit('job', 'v1', { rows: batch });
  return snapshot;
}

const v = (value: number) => [value, 1];
const S = 1_000_000;
const at = (seconds: number) => `1970-01-01T00:00:${String(seconds).padStart(2, '0')}Z`;

describe('which rule drops a revision', () => {
  test('one that is later than the question, or at it where the boundary is exclusive (A1)', async () => {
    const store = testStore();
    await push(store, { event: 10 * S, vector: v(1) }, { event: 20 * S, vector: v(2) });
    const inclusive = ask(store, { asOf: 15 * S });
    expect(inclusive.answer).toBe('PRESENT');
    expect(inclusive.told).toEqual([`${20 * S} dropped A1`, `${10 * S} kept A2`]);
    expect(inclusive.whys[0]).toBe(`its event_timestamp ${at(20)} is after as_of ${at(15)}`);
    const exclusive = ask(store, { asOf: 20 * S, boundary: 'exclusive' });
    expect(exclusive.told).toEqual([`${20 * S} dropped A1`, `${10 * S} kept A2`]);
    expect(exclusive.whys[0]).toBe(
      `its event_timestamp is as_of, ${at(20)}, and the boundary is exclusive`,
    );
  });

  test('one that was known or stored after what the question knows (A5)', async () => {
    const store = testStore(viewOf('job'), new TestClock(40 * S));
    await push(store, { event: 10 * S, known: 30 * S, vector: v(1) });
    const input = ask(store, { asOf: 20 * S, knowledge: 'input' });
    expect([input.answer, input.rule]).toEqual(['NOT_YET_KNOWN', 'A5']);
    expect(input.told).toEqual([`${10 * S} dropped A5`]);
    expect(input.whys).toEqual([
      `its known_timestamp ${at(30)} is after as_of ${at(20)}, and knowledge=input counts what was known by then`,
    ]);
    expect(ask(store, { asOf: 35 * S, knowledge: 'input', knownAt: 25 * S }).whys).toEqual([
      `its known_timestamp ${at(30)} is after known_at ${at(25)}`,
    ]);
    expect(ask(store, { asOf: 35 * S, knowledge: 'served' }).whys).toEqual([
      `its created_timestamp ${at(40)} is after as_of ${at(35)}, and knowledge=served counts what was stored by then`,
    ]);
  });

  test('one that came after the snapshot (A9)', async () => {
    const store = testStore();
    const snapshot = await push(store, { event: 10, vector: v(1) });
    await push(store, { event: 20, vector: v(2) });
    const { told, whys } = ask(store, { snapshot });
    expect(told).toEqual(['20 dropped A9', '10 kept A2']);
    expect(whys[0]).toBe(`its seq ${snapshot + 1} is above the snapshot ${snapshot}`);
    const before = ask(store, { snapshot: snapshot - 1 });
    expect([before.answer, before.rule]).toEqual(['NOT_FOUND', 'A9']);
    expect(before.told).toEqual(['20 dropped A9', '10 dropped A9']);
  });

  test('one that counts and comes before the winner, by event time, known time, or seq (A2)', async () => {
    const store = testStore();
    await push(
      store,
      { event: 10 * S, known: 10 * S, vector: v(1) },
      { event: 20 * S, known: 20 * S, vector: v(2) },
      { event: 20 * S, known: 30 * S, vector: v(3) },
      { event: 20 * S, known: 30 * S, vector: v(4) },
    );
    const { told, whys, revisions } = ask(store);
    expect(told).toEqual([
      `${20 * S} kept A2`,
      `${20 * S} dropped A2`,
      `${20 * S} dropped A2`,
      `${10 * S} dropped A2`,
    ]);
    const seq = revisions[0]!.revision.seq;
    expect(whys).toEqual([
      'of all that count it is the last in order',
      `it counts, and of the same event_timestamp and known_timestamp the winner’s seq ${seq} is greater than its ${seq - 1}`,
      `it counts, and of the same event_timestamp the winner’s known_timestamp ${at(30)} is later than its ${at(20)}`,
      `it counts, and the winner’s event_timestamp ${at(20)} is later than its ${at(10)}`,
    ]);
  });
});

describe('what becomes of the winner', () => {
  test('it answers, as old as it is', async () => {
    const store = testStore(viewOf('job'), new TestClock(50 * S));
    await push(store, { event: 10 * S, vector: v(1) });
    const { rule, why, revisions } = ask(store);
    const { seq } = revisions[0]!.revision;
    expect([rule, why]).toEqual(['A2', `seq ${seq} wins, and may be of any age`]);
    expect(ask(store, { maxAge: 40 * S }).why).toBe(
      `seq ${seq} wins, and its event_timestamp ${at(10)} is PT40S before now ${at(50)}, within max_age PT40S`,
    );
    expect(ask(store, { now: 5 * S, maxAge: 0 }).why).toContain(
      `${at(10)} is after now ${at(5)}, within max_age PT0S`,
    );
  });

  test('it is too old, and nothing older takes its place (A6)', async () => {
    const store = testStore(viewOf('job'), new TestClock(50 * S));
    await push(store, { event: 10 * S, vector: v(1) }, { event: 5 * S, vector: v(0) });
    const { answer, rule, why, told } = ask(store, { asOf: 30 * S, maxAge: 20 * S - 1 });
    expect([answer, rule]).toEqual(['OUTSIDE_MAX_AGE', 'A6']);
    expect(why).toMatch(
      /^seq \d+ wins, and its event_timestamp .*:10Z is PT20S before as_of .*:30Z, longer than max_age PT19.999999S$/,
    );
    expect(told).toEqual([`${10 * S} kept A2`, `${5 * S} dropped A2`]);
  });

  test('it is a delete (A7)', async () => {
    const store = testStore();
    await push(store, { event: 10 * S, vector: v(1) }, { event: 20 * S, vector: null });
    const { answer, rule, why, told } = ask(store);
    expect([answer, rule]).toEqual(['DELETED', 'A7']);
    expect(why).toMatch(new RegExp(`^seq \\d+ wins, and is a delete as of ${at(20)}$`));
    expect(told).toEqual([`${20 * S} kept A2`, `${10 * S} dropped A2`]);
  });
});

describe('questions without a winner', () => {
  test('about an entity that has no revision, or none in time (A1)', async () => {
    const store = testStore();
    expect(ask(store)).toMatchObject({ answer: 'NOT_FOUND', rule: null, revisions: [] });
    await push(store, { event: 10 * S, vector: v(1) });
    const early = ask(store, { asOf: 9 * S });
    expect([early.answer, early.rule]).toEqual(['NOT_FOUND', 'A1']);
    expect(early.why).toContain(`none is at or before as_of ${at(9)}`);
    const exclusive = ask(store, { asOf: 10 * S, boundary: 'exclusive' });
    expect(exclusive.why).toContain(`none is before as_of ${at(10)}`);
  });

  test('about an erased entity: none of its revisions is shown (A8)', async () => {
    const store = testStore();
    const snapshot = await push(store, { event: 10, vector: v(1) });
    await store.erase({ entity: 'job' }, ['a']);
    for (const question of [{}, { snapshot }, { asOf: 5 }]) {
      const { answer, rule, revisions } = ask(store, question);
      expect([answer, rule, revisions]).toEqual(['ERASED', 'A8', []]);
    }
  });

  test('that reach before the horizon: what may be gone is not shown, gone or not (A10)', async () => {
    const clock = new TestClock(10 * S);
    const store = testStore(viewOf('job'), clock);
    const snapshot = await push(
      store,
      { event: 1 * S, vector: v(1) },
      { event: 2 * S, vector: v(2) },
      { event: 3 * S, vector: v(3) },
    );
    clock.now = 20 * S;
    await push(store, { event: 15 * S, vector: v(4) });
    await store.advanceHorizon('job', 12 * S);
    for (const then of ['before', 'after']) {
      if (then === 'after') await store.compact('job', 'v1');
      const early = ask(store, { asOf: 11 * S });
      expect([early.answer, early.rule]).toEqual(['BEFORE_RETENTION', 'A10']);
      expect(early.why).toBe(
        `as_of ${at(11)} lies before the horizon of retention, ${at(12)}, snapshot ${snapshot}`,
      );
      expect(early.told).toEqual([`${15 * S} dropped A1`, `${3 * S} dropped A10`]);
      const exclusive = ask(store, { asOf: 12 * S, boundary: 'exclusive', knownAt: 5 * S });
      expect(exclusive.why).toBe(
        `as_of ${at(12)} (exclusive) and known_at ${at(5)} lie before the horizon of retention, ${at(12)}, snapshot ${snapshot}`,
      );
      const old = ask(store, { snapshot: snapshot - 1 });
      expect(old.why).toBe(
        `the snapshot ${snapshot - 1} lies before the horizon of retention, ${at(12)}, snapshot ${snapshot}`,
      );
      expect(old.told).toEqual([`${15 * S} dropped A9`, `${3 * S} dropped A9`]);
      // From the horizon on all is as it was.
      expect(ask(store, { asOf: 12 * S }).told).toEqual([
        `${15 * S} dropped A1`,
        `${3 * S} kept A2`,
      ]);
    }
  });
});

test('a long timeline is shown from both sides of the winner, and said to be cut', async () => {
  const store = testStore();
  await push(store, ...Array.from({ length: 1_000 }, (_, event) => ({ event, vector: v(event) })));
  const shown = (question: Partial<Question>, limit = 4) => {
    const { revisions, cut } = ask(store, question, limit);
    return [...revisions.map(({ revision }) => revision.event), cut.newer, cut.older];
  };
  expect(shown({ asOf: 500 })).toEqual([502, 501, 500, 499, true, true]);
  expect(shown({})).toEqual([999, 998, 997, 996, false, true]);
  expect(shown({ asOf: 998 })).toEqual([999, 998, 997, 996, false, true]);
  expect(shown({ asOf: 1 })).toEqual([3, 2, 1, 0, true, false]);
  expect(shown({ asOf: 0 })).toEqual([3, 2, 1, 0, true, false]);
  expect(shown({ asOf: -1 })).toEqual([3, 2, 1, 0, true, false]);
  expect(shown({ asOf: 500 }, 1)).toEqual([500, true, true]);
  expect(shown({ asOf: 500 }, 1_000)).toHaveLength(1_002);
  expect(shown({ asOf: 500 }, 1_000).slice(-2)).toEqual([false, false]);
});

/** The rules as naively as they read: what a revision is dropped for, all of it. */
function reasonsToDrop(revision: Revision, question: Question): string[] {
  const { asOf = MICROS_MAX, boundary, knowledge, knownAt = MICROS_MAX, snapshot } = question;
  const { event, known, created, seq } = revision;
  const isLate =
    boundary === 'exclusive' && question.asOf !== undefined ? event >= asOf : event > asOf;
  return [
    ...(seq > snapshot ? ['A9'] : []),
    ...(isLate ? ['A1'] : []),
    ...(known > knownAt ? ['A5'] : []),
    ...(knowledge === 'input' && known > asOf ? ['A5'] : []),
    ...(knowledge === 'served' && created > asOf ? ['A5'] : []),
  ];
}

const small = fc.integer({ min: 0, max: 80 });
const someQuestion = fc.record({
  asOf: fc.option(small, { nil: undefined }),
  boundary: fc.constantFrom(...BOUNDARIES),
  knowledge: fc.constantFrom(...KNOWLEDGE),
  knownAt: fc.option(small, { nil: undefined }),
  snapshot: fc.nat(),
  limit: fc.integer({ min: 1, max: 120 }),
});

test('each revision has the verdict that the rules read one by one give it, and the answer is that of a lookup (A1–A3, A5, A9)', async () => {
  const row = fc.record({
    event: small,
    lag: fc.integer({ min: 0, max: 20 }),
    value: fc.option(fc.nat({ max: 3 })),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(row, { minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 5 }),
      fc.array(someQuestion, { minLength: 10, maxLength: 10 }),
      async (commits, questions) => {
        const clock = new TestClock(0);
        const store = testStore(viewOf('job'), clock);
        const version = store.version('job', 'v1');
        const first = store.snapshot;
        for (const rows of commits) {
          await push(
            store,
            ...rows.map(({ event, lag, value }) => ({
              event,
              known: event + lag,
              vector: value === null ? null : v(value),
            })),
          );
          clock.now += 15;
        }
        const all = readHistory(
          version,
          'a',
          { from: -MICROS_MAX, to: MICROS_MAX, below: undefined, snapshot: MICROS_MAX },
          10_000,
        );
        for (const { limit, snapshot: some, ...rest } of questions) {
          const snapshot = first + (some % (store.snapshot - first + 1));
          const question = questionOf(store, { ...rest, snapshot });
          const { resolution, revisions, cut } = explain(version, 'a', question, MICROS_MAX, limit);
          expect(resolution).toEqual(resolveMany(version, ['a'], question));

          const counting = all.filter((each) => reasonsToDrop(each, question).length === 0);
          const winner = counting.toSorted(compareOrder).at(-1);
          expect(revisions.filter(({ verdict }) => verdict === 'kept')).toMatchObject(
            winner === undefined ? [] : [{ revision: winner, rule: 'A2' }],
          );
          const expected = ({ revision }: Judged) => reasonsToDrop(revision, question)[0] ?? 'A2';
          expect(revisions.map(({ rule }) => rule)).toEqual(revisions.map(expected));

          // A stretch without a gap, as long as it may be.
          const from = all.findIndex(({ seq }) => seq === revisions[0]?.revision.seq);
          expect(revisions.map(({ revision }) => revision)).toEqual(
            all.slice(from, from + revisions.length),
          );
          expect(revisions).toHaveLength(Math.min(limit, all.length));
          expect(cut).toEqual({ newer: from > 0, older: from + revisions.length < all.length });
        }
      },
    ),
    { numRuns: 40 },
  );
});
