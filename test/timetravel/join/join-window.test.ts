import { Int32, Int64, TimestampMicrosecond, Utf8, Vector, vectorFromArray } from 'apache-arrow';
import { expect, onTestFinished, test } from 'vitest';

import { openPinned, type PageVersion, pinVersion } from '../../../src/store/pinned-version.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Answer } from '../../../src/timetravel/formats/answer.ts';
import { timestampColumn } from '../../../src/timetravel/join/columns.ts';
import {
  answerOf,
  countsOf,
  invalidOf,
  resolveRows,
} from '../../../src/timetravel/join/join-window.ts';
import type { JoinPlan } from '../../../src/timetravel/join/plan.ts';
import type { SpineWindow } from '../../../src/timetravel/spine/window.ts';
import { REASONS, STATUSES } from '../../../src/timetravel/status.ts';
import { planOf, refOf } from '../../support/join-plan.ts';
import { batchOf, TestClock, testStore, viewOf } from '../../support/store.ts';
import { windowOf, windowWith } from '../spine/spine.ts';

function pinned(store: Store, { refs }: JoinPlan): PageVersion[] {
  return refs.map(({ view, version }) => {
    const { version: pages, release } = pinVersion(store.version(view, version));
    onTestFinished(release);
    return openPinned(pages);
  });
}

function resolved(store: Store, plan: JoinPlan, window: SpineWindow) {
  return resolveRows(window, plan, pinned(store, plan));
}

function answered(store: Store, plan: JoinPlan, window: SpineWindow): Answer {
  return answerOf(resolved(store, plan, window));
}

/** Names of all columns in the order of the answer. */
function namesOf({ batch, vectors }: Answer): string[] {
  const names = batch.schema.names.map(String);
  for (const { at, name } of vectors) names.splice(at, 0, name);
  return names;
}

function columnOf({ batch }: Answer, name: string): unknown[] {
  return [...batch.getChild(name)!];
}

/** The first number of each row's vector. */
function firstNumbers({ vectors, batch }: Answer, at = 0): (number | null)[] {
  const column = vectors[at]!;
  const { valid, dim } = column;
  const out = new Float32Array(batch.numRows * dim);
  const offsets = Uint32Array.from({ length: batch.numRows }, (_, row) => row * dim * 4);
  column.gather(new Uint8Array(out.buffer), offsets);
  return Array.from(valid, (isValid, row) => (isValid === 1 ? out[row * dim]! : null));
}

function spineWith(ids: (string | null)[], moments: (number | null)[], more = {}): SpineWindow {
  const times = Float64Array.from(moments, (moment) => moment ?? Number.NaN);
  return windowWith({
    job_id: vectorFromArray(ids, new Utf8()),
    event_timestamp: new Vector([timestampColumn('t', times).data]),
    ...more,
  });
}

async function someStore(): Promise<Store> {
  const store = testStore();
  store.createView(viewOf('member', 3));
  await store.commit('job', 'v1', {
    rows: batchOf([
      { id: 'a', event: 10, known: 11, vector: [1, 0] },
      { id: 'a', event: 20, known: 21, vector: [2, 0] },
      { id: 'b', event: 15, known: 16, vector: [3, 0] },
    ]),
  });
  await store.commit('member', 'v1', {
    rows: batchOf([{ id: 'm', event: 5, vector: [7, 0, 0] }], 3),
  });
  return store;
}

test('columns are added behind those of the spine, reference by reference, in one order', async () => {
  const store = await someStore();
  const window = spineWith(['a'], [30], { member_id: vectorFromArray(['m'], new Utf8()) });
  const refs = [refOf(store), refOf(store, 'member', { name: 'who' })];
  const plan = planOf(store, { refs, columns: { known: true, created: true } });
  const answer = answered(store, plan, window);
  const added = ['event_timestamp', 'known_timestamp', 'created_timestamp', 'status', 'reason'];
  expect(namesOf(answer)).toEqual([
    'job_id',
    'event_timestamp',
    'member_id',
    ...['vector', ...added].map((name) => `job__${name}`),
    ...['vector', ...added].map((name) => `who__${name}`),
  ]);
  expect(answer.spineColumns).toBe(3);
  expect([firstNumbers(answer), firstNumbers(answer, 1)]).toEqual([[2], [7]]);
  const plain = planOf(store, { refs: [refOf(store)] });
  expect(namesOf(answered(store, plain, window)).slice(3)).toEqual(
    ['vector', 'event_timestamp', 'status', 'reason'].map((name) => `job__${name}`),
  );
  const found = resolved(store, { ...plan, vectors: 'ref' }, window);
  const names = namesOf(answerOf(found, [Int32Array.of(4), Int32Array.of(-1)]));
  expect([names[3], names[9]]).toEqual(['job__vector_row', 'who__vector_row']);
});

test('times of the winner are told of rows that are present, and of no others', async () => {
  const store = await someStore();
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'b', event: 40, vector: null }]) });
  const plan = planOf(store, {
    refs: [refOf(store, 'job', { maxAge: 5 })],
    columns: { known: true, created: true },
  });
  // Present, too old, deleted, nothing there.
  const answer = answered(
    store,
    plan,
    spineWith(['a', 'a', 'b', 'c'], [12_000, 30_000, 50_000, 1]),
  );
  expect(columnOf(answer, 'job__status')).toEqual([
    'OUTSIDE_MAX_AGE',
    'OUTSIDE_MAX_AGE',
    'NOT_FOUND',
    'NOT_FOUND',
  ]);
  for (const time of ['event', 'known', 'created']) {
    expect(columnOf(answer, `job__${time}_timestamp`)).toEqual([null, null, null, null]);
  }
  const fresh = answered(store, plan, spineWith(['a'], [22]));
  expect(columnOf(fresh, 'job__event_timestamp')).toEqual([0.02]);
  expect(columnOf(fresh, 'job__known_timestamp')).toEqual([0.021]);
});

test('by entity, rows come as the store keeps them and by their moments, with the number of each', async () => {
  const store = await someStore();
  const ids = ['b', 'a', null, 'c', 'a', 'b', 'a'];
  const window = {
    ...spineWith(ids, [30, 25, 9, 1, null, 15, 12], {
      label: vectorFromArray([...ids.keys()], new Int32()),
    }),
    firstRow: 100,
  };
  const answer = answered(store, planOf(store, { order: 'entity' }), window);
  expect(columnOf(answer, 'row_number')).toEqual([102n, 104n, 106n, 101n, 105n, 100n, 103n]);
  expect(columnOf(answer, 'label')).toEqual([2, 4, 6, 1, 5, 0, 3]);
  expect(columnOf(answer, 'job_id')).toEqual([null, 'a', 'a', 'a', 'b', 'b', 'c']);
  expect(firstNumbers(answer)).toEqual([null, null, 1, 2, 3, 3, null]);
});

test('by entity, lines of text come with their rows', async () => {
  const store = await someStore();
  const spine = ['b', 'a'].map(
    (id) => `{"job_id":"${id}","event_timestamp":"1970-01-01T00:00:01Z"}\n`,
  );
  const window = await windowOf(spine.join(''), 'ndjson', {}, { loose: true });
  const plan = planOf(store, { order: 'entity', format: 'ndjson' });
  const { lines } = answered(store, plan, window);
  expect(lines!.map((line) => /"job_id":"(.)"/.exec(line.toString())![1])).toEqual(['a', 'b']);
});

test('counts are those of statuses and reasons; the first rows that are INVALID are named as the spine does', async () => {
  const store = await someStore();
  const ids = Array.from({ length: 60 }, (_, row) => (row % 2 === 1 ? null : 'a'));
  const moments = ids.map((_, row) => (row % 3 === 2 ? null : 15));
  for (const order of ['spine', 'entity'] as const) {
    const found = resolved(store, planOf(store, { order }), spineWith(ids, moments));
    const [{ statuses, reasons }] = countsOf(found) as [ReturnType<typeof countsOf>[0]];
    const counted = STATUSES.map((status, code) => [status, statuses[code]]);
    expect(Object.fromEntries(counted)).toMatchObject({ PRESENT: 20, INVALID: 40, NOT_FOUND: 0 });
    expect(reasons[REASONS.indexOf('BAD_TIMESTAMP')]).toBe(20);
    expect(reasons[REASONS.indexOf('BAD_ENTITY_ID')]).toBe(20);
    const invalid = invalidOf(found);
    expect(invalid).toHaveLength(20);
    for (const { row, feature_view, reason } of invalid) {
      const at = Number(row.replace('row ', '')) - 1;
      expect(feature_view).toBe('job');
      expect(reason).toBe(moments[at] === null ? 'BAD_TIMESTAMP' : 'BAD_ENTITY_ID');
      expect(ids[at] === null || moments[at] === null).toBe(true);
    }
  }
});

test('with strict the first row that is INVALID is refused, with its column and what to do', async () => {
  const store = await someStore();
  const plan = planOf(store, { strict: true });
  expect(() => resolved(store, plan, spineWith(['a', 'a', null], [1, null, 1]))).toThrow(
    expect.objectContaining({
      code: 'BAD_REQUEST',
      message:
        'row 2 is INVALID for job: BAD_TIMESTAMP (its column event_timestamp); ' +
        'mend it, or leave out strict to have such rows marked',
    }),
  );
  expect(() => resolved(store, plan, spineWith([null], [1]))).toThrow(
    'row 1 is INVALID for job: BAD_ENTITY_ID (its column job_id)',
  );
  expect(() => resolved(store, plan, spineWith(['a', 'nobody'], [1, 2]))).not.toThrow();
});

test('with strict a row before the horizon is refused as such, without it is marked (A10)', async () => {
  const clock = new TestClock(100);
  const store = testStore(viewOf('job'), clock);
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 10, vector: [1, 0] }]) });
  clock.now = 1_000;
  await store.advanceHorizon('job', 500);
  const window = spineWith(['a', 'a'], [500, 499]);
  const plan = planOf(store, { question: { snapshot: store.snapshot } });
  const answer = answered(store, plan, window);
  expect(columnOf(answer, 'job__status')).toEqual(['PRESENT', 'INVALID']);
  expect(columnOf(answer, 'job__reason')).toEqual([null, 'BEFORE_RETENTION']);
  expect(() => resolved(store, { ...plan, strict: true }, window)).toThrow(
    expect.objectContaining({ code: 'BEFORE_RETENTION' }),
  );
});

const BY_ENTITY = 'which order=entity adds; rename it';
const OF_THE_END = 'by which the end of the answer is told; rename it';
const ADDED = 'which the join adds; rename the reference, as in other_name=job';

/** A column of the spine, what is asked for, and why they do not go together. */
const COLLISIONS: [string, Partial<JoinPlan>, string][] = [
  ['job__vector', {}, ADDED],
  ['job__vector_row', { vectors: 'ref' }, ADDED],
  ['job__known_timestamp', { columns: { known: true, created: false } }, ADDED],
  ['job__created_timestamp', { columns: { known: false, created: true } }, ADDED],
  ['job__reason', {}, ADDED],
  ['row_number', { order: 'entity' }, BY_ENTITY],
  ['__summary', { format: 'ndjson' }, OF_THE_END],
  ['__error', { format: 'ndjson' }, OF_THE_END],
];

test.each(COLLISIONS)(
  'a column %s of the spine is refused with %o: %s',
  async (name, changes, why) => {
    const store = await someStore();
    const window = spineWith(['a'], [30], { [name]: vectorFromArray(['x'], new Utf8()) });
    expect(() => resolved(store, planOf(store, changes), window)).toThrow(
      expect.objectContaining({
        code: 'NAME_COLLISION',
        message: `the spine has a column ${name}, ${why}`,
      }),
    );
  },
);

test('a column that this join does not add is one of the spine like any other', async () => {
  const store = await someStore();
  const others: [string, Partial<JoinPlan>][] = [
    ['job__vector_row', {}],
    ['job__vector', { vectors: 'ref' }],
    ['job__known_timestamp', { columns: { known: false, created: true } }],
    ['row_number', {}],
    ['__summary', {}],
  ];
  for (const [name, changes] of others) {
    const window = spineWith(['a'], [30], { [name]: vectorFromArray(['x'], new Utf8()) });
    const found = resolved(store, planOf(store, changes), window);
    expect(columnOf(answerOf(found, [Int32Array.of(0)]), name)).toEqual(['x']);
  }
});

test('a line of text that alone has a column of the answer is named', async () => {
  const store = await someStore();
  const line = '{"job_id":"a","event_timestamp":"2026-01-01T00:00:00Z"';
  const spine = `${line}}\n${line}}\n${line},"job__status":"mine"}\n`;
  const window = await windowOf(spine, 'ndjson', {}, { loose: true });
  expect(() => resolved(store, planOf(store, { format: 'ndjson' }), window)).toThrow(
    'line 3 has a column job__status',
  );
});

test('a column that is missing, or of a type that no id or moment has, is refused by its name', async () => {
  const store = await someStore();
  const ids = vectorFromArray(['a'], new Utf8());
  const noMoment = windowWith({ job_id: ids });
  const noId = windowWith({
    event_timestamp: vectorFromArray([1], new TimestampMicrosecond('UTC')),
  });
  for (const [window, name] of [
    [noMoment, 'event_timestamp'],
    [noId, 'job_id'],
    [
      windowWith({ job_id: ids, event_timestamp: vectorFromArray([1n], new Int64()) }),
      'event_timestamp',
    ],
  ] as const) {
    expect(() => resolved(store, planOf(store), window)).toThrow(
      expect.objectContaining({
        code: 'BAD_REQUEST',
        message: expect.stringContaining(name) as string,
      }),
    );
  }
});
