import { expect, test } from 'vitest';

import { limitsSchema } from '../../src/api/limits.ts';
import { type ExplainAnswer, explainAnswer } from '../../src/api/schemas/explain.ts';
import { type EntityAnswer, entityAnswer } from '../../src/api/schemas/lookup.ts';
import { type Api, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

async function startFilled(rest: Parameters<typeof startWithJob>[0] = {}): Promise<Api> {
  const api = await startWithJob(rest);
  await pushTo(
    api,
    [
      { entity_id: 7, event_timestamp: minutesAgo(30), vector: [1, 1] },
      { entity_id: 7, event_timestamp: minutesAgo(20), vector: [2, 2] },
      { entity_id: 7, event_timestamp: minutesAgo(10), deleted: true },
    ],
    { known: 'event' },
  );
  return api;
}

async function explain(api: Api, asked: object = {}): Promise<ExplainAnswer> {
  const body = { feature_view: 'job', entity_id: 7, ...asked };
  const answer = await api.send('POST', '/v1/explain', body);
  expect(answer.status).toBe(200);
  return explainAnswer.parse(answer.body);
}

test('an explanation has each revision with the rule that kept or dropped it', async () => {
  const api = await startFilled();
  const answer = await explain(api, { as_of: minutesAgo(15) });
  const { seq } = answer.revisions[1]!;
  const times = { created_timestamp: NOW };
  expect(answer).toEqual({
    feature_view: 'job',
    version: 'v1',
    entity_id: '7',
    snapshot: api.deps.store.snapshot,
    question: {
      as_of: '2026-03-01T11:45:00Z',
      boundary: 'inclusive',
      knowledge: 'event',
      known_at: null,
      now: null,
    },
    max_age: null,
    status: 'PRESENT',
    reason: null,
    rule: 'A2',
    why: `seq ${seq} wins, and may be of any age`,
    winner: seq,
    revisions: [
      {
        event_timestamp: '2026-03-01T11:50:00Z',
        known_timestamp: '2026-03-01T11:50:00Z',
        ...times,
        seq: seq + 1,
        deleted: true,
        vector_id: null,
        verdict: 'dropped',
        rule: 'A1',
        why: 'its event_timestamp 2026-03-01T11:50:00Z is after as_of 2026-03-01T11:45:00Z',
      },
      {
        event_timestamp: '2026-03-01T11:40:00Z',
        known_timestamp: '2026-03-01T11:40:00Z',
        ...times,
        seq,
        deleted: false,
        vector_id: 1,
        verdict: 'kept',
        rule: 'A2',
        why: 'of all that count it is the last in order',
      },
      {
        event_timestamp: '2026-03-01T11:30:00Z',
        known_timestamp: '2026-03-01T11:30:00Z',
        ...times,
        seq: seq - 1,
        deleted: false,
        vector_id: 0,
        verdict: 'dropped',
        rule: 'A2',
        why: 'it counts, and the winner’s event_timestamp 2026-03-01T11:40:00Z is later than its 2026-03-01T11:30:00Z',
      },
    ],
    cut: { newer: false, older: false },
  });
});

test('what is explained is the answer of the single get to the same question (A3)', async () => {
  const api = await startFilled();
  const questions = [
    {},
    { as_of: minutesAgo(20) },
    { as_of: minutesAgo(20), boundary: 'exclusive' },
    { as_of: minutesAgo(15), max_age: 'PT4M' },
    { as_of: minutesAgo(15), knowledge: 'served' },
    { as_of: minutesAgo(15), known_at: minutesAgo(25), knowledge: 'input' },
    { as_of: minutesAgo(40) },
    { at_snapshot: 1 },
  ];
  for (const question of questions) {
    const query = new URLSearchParams(
      Object.entries(question).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const get = await api.send('GET', `/v1/feature-views/job/entities/7?${query.toString()}`);
    const single: EntityAnswer = entityAnswer.parse(get.body);
    expect(await explain(api, question)).toMatchObject({
      feature_view: single.feature_view,
      version: single.version,
      entity_id: single.entity_id,
      snapshot: single.snapshot,
      question: single.question,
      max_age: single.max_age,
      status: single.status,
      reason: single.reason,
      winner: single.seq,
    });
  }
});

test('a view’s own limit of age holds, unless the question has another (A6)', async () => {
  const api = await startFilled();
  api.deps.store.changeView('job', { max_age: 4 * 60e6 });
  expect(await explain(api, { as_of: minutesAgo(15) })).toMatchObject({
    status: 'OUTSIDE_MAX_AGE',
    rule: 'A6',
    max_age: 'PT4M',
  });
  expect(await explain(api, { as_of: minutesAgo(15), max_age: 'none' })).toMatchObject({
    status: 'PRESENT',
    max_age: null,
  });
});

test('an erased entity and a question before the horizon are explained, and show nothing that is gone (A8, A10)', async () => {
  const api = await startFilled();
  const { store } = api.deps;
  api.clock.now += 60e6;
  await store.advanceHorizon('job', api.clock.now);
  expect(await explain(api, { as_of: minutesAgo(15) })).toMatchObject({
    status: 'INVALID',
    reason: 'BEFORE_RETENTION',
    rule: 'A10',
    winner: null,
    revisions: [{ deleted: true, rule: 'A1' }],
  });
  await store.erase({ entity: 'job' }, ['7']);
  expect(await explain(api)).toMatchObject({ reason: 'ERASED', rule: 'A8', revisions: [] });
});

test('a list is cut at its limit, 100 where none is said', async () => {
  const api = await startWithJob({ limits: limitsSchema.parse({ timeline_page: 200 }) });
  await pushTo(
    api,
    Array.from({ length: 150 }, (_, minutes) => ({
      entity_id: 7,
      event_timestamp: minutesAgo(minutes),
      vector: [minutes, 1],
    })),
  );
  const { revisions, cut } = await explain(api);
  expect([revisions.length, cut]).toEqual([100, { newer: false, older: true }]);
  expect((await explain(api, { limit: 200 })).cut).toEqual({ newer: false, older: false });
  const body = { feature_view: 'job', entity_id: 7, limit: 201 };
  const over = await api.send('POST', '/v1/explain', body);
  expect([over.status, over.body.code]).toEqual([413, 'LIMIT_EXCEEDED']);
});

test.each([
  ['a limit of 0', { limit: 0 }, 422, 'BAD_REQUEST'],
  ['a time without an offset', { as_of: '2026-03-01T00:00:00' }, 422, 'BAD_TIMESTAMP'],
  ['an age of a month', { max_age: 'P1M' }, 422, 'BAD_DURATION'],
  ['no view', { feature_view: 'nobody' }, 404, 'VIEW_NOT_FOUND'],
  ['no version', { version: 'v9' }, 404, 'VERSION_NOT_FOUND'],
  ['no entity', { entity_id: '' }, 422, 'BAD_ENTITY_ID'],
  ['a snapshot of the future', { at_snapshot: 1e9 }, 409, 'SNAPSHOT_UNAVAILABLE'],
  ['an unknown field', { verbose: true }, 422, 'BAD_REQUEST'],
])('an explanation of %s is refused', async (_what, asked, status, code) => {
  const api = await startWithJob();
  const body = { feature_view: 'job', entity_id: 'a', ...asked };
  const answer = await api.send('POST', '/v1/explain', body);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});
