import { expect, test } from 'vitest';

import type { Store } from '../../../src/store/store.ts';
import type { JoinPlan } from '../../../src/timetravel/join/plan.ts';
import { streamJoin } from '../../../src/timetravel/join/stream.ts';
import { readSpineStream } from '../../../src/timetravel/spine/source.ts';
import { planOf as arrowPlanOf } from '../../support/join-plan.ts';
import { testPool } from '../../support/joins.ts';
import { batchOf, type TestRow, testStore } from '../../support/store.ts';

type Row = Record<string, unknown>;
type Question = JoinPlan['question'];

function planOf(
  store: Store,
  question: Partial<Question> = {},
  plan: Partial<Omit<JoinPlan, 'question'>> = {},
): JoinPlan {
  return arrowPlanOf(store, {
    format: 'ndjson',
    question: { knowledge: 'input', ...question },
    ...plan,
  });
}

const LIMITS = { rowsMax: 1_024, bytesMax: 2 ** 20, lineBytesMax: 1_000 };

/** A join of NDJSON to NDJSON. */
function joinLines(
  store: Store,
  spine: AsyncIterable<Uint8Array>,
  plan: JoinPlan,
): AsyncGenerator<Uint8Array> {
  const source = readSpineStream(spine, 'ndjson', LIMITS);
  return streamJoin({
    store,
    pool: testPool(),
    plan,
    source,
    signal: new AbortController().signal,
  });
}

async function join(
  store: Store,
  spine: string | Buffer,
  question: Partial<Question> = {},
  plan: Partial<Omit<JoinPlan, 'question'>> = {},
): Promise<{ rows: Row[]; summary: Row; text: string }> {
  // Bytes come in pieces that know nothing of lines.
  const bytes = Buffer.from(spine);
  async function* pieces() {
    for (let from = 0; from < bytes.length; from += 7) yield bytes.subarray(from, from + 7);
  }
  const parts = await Array.fromAsync(joinLines(store, pieces(), planOf(store, question, plan)));
  const text = Buffer.concat(parts).toString();
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
  return { rows: rows.slice(0, -1), summary: rows.at(-1)!['__summary'] as Row, text };
}

const second = (n: number) => `1970-01-01T00:00:${String(n).padStart(2, '0')}Z`;
const spineRow = (id: unknown, at: string, more: object = {}) =>
  JSON.stringify({ job_id: id, event_timestamp: at, ...more });

async function* oneRow(): AsyncGenerator<Buffer> {
  yield Buffer.from(spineRow('a', second(1)));
}

async function storeWith(...rows: TestRow[]): Promise<Store> {
  const store = testStore();
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  return store;
}

const S = 1_000_000;

test('a join has exactly one row a spine row, in spine order, duplicates kept, misses as nulls (A11)', async () => {
  const store = await storeWith(
    { id: '7', event: 10 * S, vector: [1, 2] },
    { id: '7', event: 20 * S, vector: [3, 4] },
  );
  const { rows, summary } = await join(
    store,
    [
      spineRow('7', second(25)),
      spineRow(7, second(15)),
      spineRow('none', second(15)),
      spineRow('7', second(25)),
      spineRow('7', second(5)),
    ].join('\n'),
  );
  expect(rows.map((row) => [row['job__vector'], row['job__status']])).toEqual([
    [[3, 4], 'PRESENT'],
    [[1, 2], 'PRESENT'],
    [null, 'NOT_FOUND'],
    [[3, 4], 'PRESENT'],
    [null, 'NOT_FOUND'],
  ]);
  expect(rows[0]!['job__event_timestamp']).toBe(second(20));
  expect(summary).toMatchObject({
    rows: 5,
    snapshot: store.snapshot,
    feature_views: { job: { statuses: { PRESENT: 3, NOT_FOUND: 2 } } },
  });
});

test('columns of the spine pass through as they were written, numbers beyond 2^53 too (A11)', async () => {
  const store = await storeWith({ id: 'a', event: 0, vector: [1, 1] });
  const line = `{ "job_id": "a", "event_timestamp": "${second(1)}", "big": 12345678901234567890, "x": 1.10 }`;
  const { text } = await join(store, `${line}\r\n\n`);
  expect(text.split('\n')[0]).toContain(
    '"big": 12345678901234567890, "x": 1.10,"job__vector":[1,1]',
  );
});

test('no row sees what was not known at its moment, and the summary counts such rows (A5)', async () => {
  const store = await storeWith({ id: 'a', event: 10 * S, known: 30 * S, vector: [1, 1] });
  const spine = spineRow('a', second(20));
  const { rows, summary } = await join(store, spine);
  expect(rows[0]).toMatchObject({ job__status: 'NOT_FOUND', job__reason: 'NOT_YET_KNOWN' });
  expect(JSON.stringify(summary)).toContain('knowledge=event');
  expect((await join(store, spine, { knowledge: 'event' })).rows[0]).toMatchObject({
    job__status: 'PRESENT',
  });
});

test('a row whose id or time is not in order is INVALID and does not fail the join', async () => {
  const store = await storeWith({ id: 'a', event: 0, vector: [1, 1] });
  const { rows } = await join(
    store,
    [
      spineRow('a', '1970-01-01T00:00:01'),
      spineRow('', second(1)),
      spineRow({ no: 'id' }, second(1)),
      '{}',
      spineRow('a', second(1)),
    ].join('\n'),
  );
  expect(rows.map((row) => row['job__reason'])).toEqual([
    'BAD_TIMESTAMP',
    'BAD_ENTITY_ID',
    'BAD_ENTITY_ID',
    'BAD_TIMESTAMP',
    null,
  ]);
  await expect(join(store, spineRow('a', 'noon'), {}, { strict: true })).rejects.toThrow('line 1');
});

test('a spine that is not UTF-8 is refused, because its ids would be taken for others (A11)', async () => {
  const store = await storeWith({ id: '\ufffd', event: 0, vector: [1, 1] });
  const spine = Buffer.from(spineRow('?', second(1)));
  spine[spine.indexOf('?')] = 0xff;
  await expect(join(store, spine)).rejects.toThrow('line 1 is not UTF-8');
});

test.each([{ timeColumn: 'ts' }, { refs: 'posting' }])(
  'a column that no row has is a name mistaken, and not a set of misses: %j',
  async ({ timeColumn, refs }) => {
    const store = await storeWith({ id: 'a', event: 0, vector: [1, 1] });
    const plan = planOf(store);
    const asked = joinLines(store, oneRow(), {
      ...plan,
      timeColumn: timeColumn ?? plan.timeColumn,
      refs: plan.refs.map((ref) => ({ ...ref, idColumn: refs ?? ref.idColumn })),
    });
    await expect(asked.next()).rejects.toThrow(`has no column ${timeColumn ?? refs}`);
  },
);

test('the same join at the same snapshot is byte-identical after further writes, late ones too (A9)', async () => {
  const store = await storeWith({ id: 'a', event: 10 * S, vector: [1, 1] });
  const { snapshot } = store;
  const spine = Array.from({ length: 3_000 }, (_, at) => spineRow('a', second(at % 60))).join('\n');
  const before = await join(store, spine, { snapshot });
  await store.commit('job', 'v1', {
    rows: batchOf([
      { id: 'a', event: 5 * S, vector: [9, 9] },
      { id: 'a', event: 10 * S, known: 11 * S, vector: [8, 8] },
      { id: 'a', event: 40 * S, vector: null },
    ]),
  });
  expect((await join(store, spine, { snapshot })).text).toBe(before.text);
  expect((await join(store, spine)).text).not.toBe(before.text);
});

test.each([
  ['not json', 'line 2 is not JSON'],
  ['[1]', 'line 2 is not a JSON object'],
  [spineRow('a', second(1), { job__status: 1 }), 'has a column job__status'],
  [spineRow('a', second(1), { text: 'x'.repeat(1_000) }), 'longer than the limit of 1000 bytes'],
])('the line %s ends the join with an error that names it', async (line, message) => {
  const store = await storeWith({ id: 'a', event: 0, vector: [1, 1] });
  await expect(join(store, `${spineRow('a', second(1))}\n${line}`)).rejects.toThrow(message);
});

test('a view that is dropped and made anew during a join ends it, rather than answer for the old one (A9)', async () => {
  const store = await storeWith({ id: 'a', event: 0, vector: [1, 1] });
  const view = store.catalogue.mustGetView('job');
  const line = Buffer.from(`${spineRow('a', second(1))}\n`.repeat(4_096));
  async function* spine() {
    yield line;
    await store.dropView('job');
    store.createView(view);
    yield line;
  }
  const joined = joinLines(store, spine(), planOf(store));
  await expect(Array.fromAsync(joined)).rejects.toThrow('was dropped');
});
