import { describe, expect, test } from 'vitest';

import { HEAD_MAX } from '../../src/store/chunk.ts';
import type { Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, TestClock, type TestRow, testStore, viewOf } from '../support/store.ts';

/** What the store answers for `job-1`: the vector's first number, or the status and reason. */
function ask(store: Store, question: Partial<Question> = {}, id = 'job-1'): number | string {
  const version = store.version('job', 'v1');
  const resolution = resolveMany(version, [id], {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
    ...question,
  });
  const vector = new Float32Array(2);
  gather(version.vectors, resolution, new Uint8Array(vector.buffer));
  const status = STATUSES[resolution.statuses[0]!]!;
  if (status === 'PRESENT') return vector[0]!;
  const reason = REASONS[resolution.reasons[0]!];
  return reason === null ? status : `${status} ${reason}`;
}

async function push(store: Store, ...rows: Omit<TestRow, 'id'>[]) {
  const batch = batchOf(rows.map((row) => ({ id: 'job-1', ...row })));
  return store.commit('job', 'v1', { rows: batch });
}

const v = (value: number) => [value, 1];

describe('A1', () => {
  test('an answer is at or before as_of, and strictly before it where the boundary is exclusive (A1)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) }, { event: 20, vector: v(2) });
    expect(ask(store, { asOf: 9 })).toBe('NOT_FOUND');
    expect(ask(store, { asOf: 10 })).toBe(1);
    expect(ask(store, { asOf: 19 })).toBe(1);
    expect(ask(store, { asOf: 20 })).toBe(2);
    expect(ask(store, { asOf: 20, boundary: 'exclusive' })).toBe(1);
    expect(ask(store, { asOf: 10, boundary: 'exclusive' })).toBe('NOT_FOUND');
  });

  test('the boundary touches no other bound (A1, A5)', async () => {
    const store = testStore();
    await push(store, { event: 10, known: 20, vector: v(1) });
    expect(ask(store, { asOf: 20, boundary: 'exclusive', knowledge: 'input' })).toBe(1);
    expect(ask(store, { asOf: 19, boundary: 'exclusive', knowledge: 'input' })).toBe(
      'NOT_FOUND NOT_YET_KNOWN',
    );
  });
});

describe('A2', () => {
  test('of one event time what was learnt later wins, in whatever order it arrived (A2)', async () => {
    const store = testStore();
    await push(
      store,
      { event: 10, known: 30, vector: v(3) },
      { event: 10, known: 20, vector: v(2) },
    );
    expect(ask(store)).toBe(3);
    expect(ask(store, { knownAt: 29 })).toBe(2);
  });

  test('of one event time and one known time what was committed later wins, a delete no more than a vector (A2)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) }, { event: 10, vector: null });
    expect(ask(store)).toBe('NOT_FOUND DELETED');
    await push(store, { event: 10, vector: v(2) });
    expect(ask(store)).toBe(2);
  });
});

describe('A4', () => {
  test('a late record goes into history and leaves the latest alone (A4)', async () => {
    const store = testStore();
    await push(store, { event: 20, vector: v(2) });
    const { outcomes } = await push(store, { event: 10, known: 99, vector: v(1) });
    expect(outcomes).toEqual(['history']);
    expect(ask(store)).toBe(2);
    expect(ask(store, { asOf: 15 })).toBe(1);
  });

  test('a record equal to any revision of its event time that was known no later is a duplicate (A4)', async () => {
    const store = testStore();
    await push(
      store,
      { event: 10, known: 10, vector: v(1) },
      { event: 10, known: 20, vector: v(2) },
    );
    expect((await push(store, { event: 10, known: 30, vector: v(1) })).outcomes).toEqual([
      'duplicate',
    ]);
    expect(ask(store)).toBe(2);
  });

  test('an equal record that was known earlier is stored, because it answers more (A4, A5)', async () => {
    const store = testStore();
    await push(store, { event: 10, known: 30, vector: v(1) });
    expect((await push(store, { event: 10, known: 20, vector: v(1) })).outcomes).toEqual([
      'history',
    ]);
    expect(ask(store, { asOf: 20, knowledge: 'input' })).toBe(1);
  });

  test('the same vector at another event time is a confirmation: a revision without new bytes (A4)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) });
    const { outcomes } = await push(store, { event: 20, vector: v(1) });
    expect(outcomes).toEqual(['latest']);
    expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 2, nextVectorId: 1 });
  });

  test('two deletes of one moment are one (A4)', async () => {
    const store = testStore();
    const { outcomes } = await push(
      store,
      { event: 10, vector: null },
      { event: 10, known: 11, vector: null },
    );
    expect(outcomes).toEqual(['latest', 'duplicate']);
  });
});

describe('A5', () => {
  test('input knowledge is what had reached the platform, served knowledge what had been committed (A5)', async () => {
    const clock = new TestClock(1_000);
    const store = testStore(viewOf('job'), clock);
    await push(store, { event: 10, known: 12, vector: v(1) });
    expect(ask(store, { asOf: 11 })).toBe(1);
    expect(ask(store, { asOf: 11, knowledge: 'input' })).toBe('NOT_FOUND NOT_YET_KNOWN');
    expect(ask(store, { asOf: 12, knowledge: 'input' })).toBe(1);
    expect(ask(store, { asOf: 999, knowledge: 'served' })).toBe('NOT_FOUND NOT_YET_KNOWN');
    expect(ask(store, { asOf: 1_000, knowledge: 'served' })).toBe(1);
  });

  test('a correction that was not known yet gives way to what it corrects (A5)', async () => {
    const store = testStore();
    await push(
      store,
      { event: 10, known: 10, vector: v(1) },
      { event: 10, known: 50, vector: v(2) },
    );
    expect(ask(store, { asOf: 49, knowledge: 'input' })).toBe(1);
    expect(ask(store, { asOf: 50, knowledge: 'input' })).toBe(2);
  });

  test('known_at bounds the whole question, the latest too (A5)', async () => {
    const store = testStore();
    await push(
      store,
      { event: 10, known: 10, vector: v(1) },
      { event: 20, known: 50, vector: v(2) },
    );
    expect(ask(store, { knownAt: 49 })).toBe(1);
    expect(ask(store, { knownAt: 9 })).toBe('NOT_FOUND NOT_YET_KNOWN');
  });

  test('a revision above the snapshot is not unknown: in that state there was none (A5, A9)', async () => {
    const store = testStore();
    const before = store.snapshot;
    await push(store, { event: 10, known: 99, vector: v(1) });
    expect(ask(store, { knownAt: 50, snapshot: before })).toBe('NOT_FOUND');
  });
});

test('from a delete on the entity is gone, and before it the old vector still answers (A7)', async () => {
  const store = testStore();
  await push(
    store,
    { event: 10, vector: v(1) },
    { event: 20, vector: null },
    { event: 30, vector: v(3) },
  );
  expect(ask(store, { asOf: 19 })).toBe(1);
  expect(ask(store, { asOf: 20 })).toBe('NOT_FOUND DELETED');
  expect(ask(store, { asOf: 29 })).toBe('NOT_FOUND DELETED');
  expect(ask(store)).toBe(3);
});

test('the same question at the same snapshot has the same answer, whatever was written since (A9)', async () => {
  const store = testStore();
  const { snapshot } = await push(store, { event: 10, vector: v(1) });
  await push(store, { event: 5, vector: v(5) }, { event: 10, known: 11, vector: v(2) });
  await push(store, { event: 20, vector: null });
  expect(ask(store, { snapshot })).toBe(1);
  expect(ask(store, { asOf: 7, snapshot })).toBe('NOT_FOUND');
  expect(ask(store, { snapshot: 0 })).toBe('NOT_FOUND');
});

test('an entity with 100,000 revisions answers at its head, at its start and in its middle (A3)', async () => {
  const store = testStore();
  for (let from = 0; from < 100_000; from += 10_000) {
    await push(
      store,
      ...Array.from({ length: 10_000 }, (_, at) => ({
        event: from + at,
        vector: v((from + at) % 97),
      })),
    );
  }
  for (const asOf of [0, 1, HEAD_MAX, 49_999, 50_000, 99_999]) {
    expect(ask(store, { asOf })).toBe(asOf % 97);
  }
  expect(ask(store)).toBe(99_999 % 97);
  expect(ask(store, { asOf: -1 })).toBe('NOT_FOUND');
  expect(ask(store, { knownAt: 3 })).toBe(3);
});

test('a request that fails changes nothing and fails alone', async () => {
  const store = testStore();
  await store.erase({ entity: 'job' }, ['erased']);
  const refused = batchOf([{ id: 'erased', event: 10, vector: v(1) }]);
  const results = await Promise.allSettled([
    push(store, { event: 1, vector: v(1) }),
    store.commit('job', 'v1', { rows: refused, isAtomic: true }),
    push(store, { event: 2, vector: v(2) }),
  ]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(ask(store)).toBe(2);
  expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 2, nextVectorId: 2 });
});
describe('A6', () => {
  test('an answer is fresh up to and at max_age before as_of, and what is older takes no fallback (A6)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) }, { event: 20, vector: v(2) });
    expect(ask(store, { asOf: 25, maxAge: 5 })).toBe(2);
    expect(ask(store, { asOf: 26, maxAge: 5 })).toBe('OUTSIDE_MAX_AGE');
    expect(ask(store, { asOf: 20, maxAge: 0 })).toBe(2);
    expect(ask(store, { asOf: 19, maxAge: 8 })).toBe('OUTSIDE_MAX_AGE');
    expect(ask(store, { asOf: 19, maxAge: 9 })).toBe(1);
    expect(ask(store, { asOf: 9, maxAge: 1 })).toBe('NOT_FOUND');
  });

  test('the age of the latest is measured from now, which bounds nothing else (A3, A6)', async () => {
    const store = testStore();
    await push(store, { event: 20, vector: v(2) });
    expect(ask(store, { now: 25, maxAge: 5 })).toBe(2);
    expect(ask(store, { now: 26, maxAge: 5 })).toBe('OUTSIDE_MAX_AGE');
    expect(ask(store, { now: 10, maxAge: 5 })).toBe(2);
  });

  test('the boundary does not touch the age (A1, A6)', async () => {
    const store = testStore();
    await push(store, { event: 20, vector: v(2) });
    expect(ask(store, { asOf: 25, maxAge: 5, boundary: 'exclusive' })).toBe(2);
  });

  test('a confirmation is an event: the same vector again is fresh again (A4, A6)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) }, { event: 20, vector: v(1) });
    expect(ask(store, { asOf: 25, maxAge: 5 })).toBe(1);
  });

  test('a delete is one at any age (A6, A7)', async () => {
    const store = testStore();
    await push(store, { event: 10, vector: v(1) }, { event: 20, vector: null });
    expect(ask(store, { asOf: 90, maxAge: 5 })).toBe('NOT_FOUND DELETED');
  });
});

describe('A10', () => {
  test('what was asked before the horizon is INVALID, by whichever bound; from it on nothing changes (A10)', async () => {
    const clock = new TestClock(10);
    const store = testStore(viewOf('job'), clock);
    const { snapshot: first } = await push(store, { event: 10, vector: v(1) });
    clock.now = 20;
    const { snapshot: second } = await push(store, { event: 20, vector: v(2) });
    clock.now = 100;
    await store.advanceHorizon('job', 20);
    const before = 'INVALID BEFORE_RETENTION';
    expect(ask(store, { asOf: 19 })).toBe(before);
    expect(ask(store, { asOf: 20 })).toBe(2);
    expect(ask(store, { asOf: 20, boundary: 'exclusive' })).toBe(before);
    expect(ask(store, { asOf: 21, boundary: 'exclusive' })).toBe(2);
    expect(ask(store, { asOf: 50, knownAt: 19 })).toBe(before);
    expect(ask(store, { asOf: 50, knownAt: 20 })).toBe(2);
    expect(ask(store, { snapshot: first })).toBe(before);
    expect(ask(store, { snapshot: second })).toBe(2);
    expect(ask(store)).toBe(2);
    expect(ask(store, { asOf: 19 }, 'nobody')).toBe(before);
  });

  test('the horizon does not go back, nor ahead of the clock (A10)', async () => {
    const store = testStore(viewOf('job'), new TestClock(100));
    await store.advanceHorizon('job', 500);
    await store.advanceHorizon('job', 50);
    expect(store.catalogue.mustGetView('job').horizon?.moment).toBe(100);
  });

  test('nothing is created at or before the horizon once it stands, though the clock steps back (A10)', async () => {
    const clock = new TestClock(100);
    const store = testStore(viewOf('job'), clock);
    await store.advanceHorizon('job', 100);
    clock.now = 50;
    await push(store, { event: 10, vector: v(1) });
    expect(ask(store, { asOf: 100, knowledge: 'served' })).toBe('NOT_FOUND NOT_YET_KNOWN');
    expect(ask(store, { asOf: 101, knowledge: 'served' })).toBe(1);
  });
});
