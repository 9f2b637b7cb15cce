import { expect, test } from 'vitest';

import { entityAnswer } from '../../src/api/schemas/lookup.ts';
import { minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

const AT = minutesAgo(10);

test('one entity is shown with all its times and its question', async () => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: 'a', event_timestamp: AT, vector: [1, 2] }]);
  const { status, body } = await api.send('GET', '/v1/feature-views/job/entities/a');
  expect(status).toBe(200);
  expect(entityAnswer.parse(body)).toEqual({
    feature_view: 'job',
    version: 'v1',
    entity_id: 'a',
    snapshot: api.deps.store.snapshot,
    question: { as_of: null, boundary: 'inclusive', knowledge: 'event', known_at: null, now: null },
    max_age: null,
    status: 'PRESENT',
    reason: null,
    event_timestamp: '2026-03-01T11:50:00Z',
    known_timestamp: NOW,
    created_timestamp: NOW,
    seq: expect.any(Number) as number,
    dim: 2,
    dtype: 'float32',
    vector: [1, 2],
  });
});

test('an entity without a vector is an answer with its reason, not an error', async () => {
  const api = await startWithJob();
  const { status, body } = await api.send('GET', '/v1/feature-views/job/entities/nobody');
  expect(status).toBe(200);
  expect(body).toMatchObject({
    status: 'NOT_FOUND',
    reason: null,
    event_timestamp: null,
    seq: null,
    vector: null,
  });
});

const LONG = 'é'.repeat(512);

test.each([
  'a/b',
  '/',
  '100%',
  '%2F',
  '%25',
  'a b',
  'a+b',
  'a.b',
  '...',
  'a?b=c#d',
  'a;b&c',
  '😀',
  'timeline',
  'ä\u0308',
  '"quoted"\\',
  '\n',
  LONG,
])('the id %j works in a path, percent-encoded', async (id) => {
  const api = await startWithJob();
  const pushed = await pushTo(api, [{ entity_id: id, event_timestamp: AT, vector: [1, 2] }]);
  expect(pushed.body.rejected).toEqual([]);
  const path = `/v1/feature-views/job/entities/${encodeURIComponent(id)}`;
  expect((await api.send('GET', path)).body).toMatchObject({ entity_id: id, vector: [1, 2] });
  const timeline = await api.send('GET', `${path}/timeline`);
  expect(timeline.body).toMatchObject({ entity_id: id, revisions: [{ deleted: false }] });
  const deleted = await api.send('DELETE', path);
  expect(deleted.body).toMatchObject({ entity_id: id, versions: { v1: { latest: 1 } } });
});

test.each(['.', '..'])('the id %j, which no path can carry, works in bodies', async (id) => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: id, event_timestamp: AT, vector: [1, 2] }]);
  const { body } = await api.send('POST', '/v1/lookup', {
    lookups: [{ feature_view: 'job', entity_ids: [id] }],
  });
  expect(body.results).toMatchObject([{ vectors: [[1, 2]] }]);
  const timeline = await api.send('POST', '/v1/timeline', { feature_view: 'job', entity_id: id });
  expect(timeline.body.revisions).toHaveLength(1);
  const deleted = { entity_id: id, event_timestamp: minutesAgo(5), deleted: true };
  expect((await pushTo(api, [deleted])).body.versions).toMatchObject({ v1: { latest: 1 } });
});

test.each([
  ['of 1,025 bytes', `${LONG}x`],
  ['of 4,000 bytes', 'x'.repeat(4_000)],
  ['with a NUL', 'a\0b'],
])('an id %s is refused', async (_what, id) => {
  const api = await startWithJob();
  const path = `/v1/feature-views/job/entities/${encodeURIComponent(id)}`;
  for (const answer of [
    await api.send('GET', path),
    await api.send('GET', `${path}/timeline`),
    await api.send('DELETE', path),
    await api.send('POST', '/v1/timeline', { feature_view: 'job', entity_id: id }),
  ]) {
    expect([answer.status, answer.body.code]).toEqual([422, 'BAD_ENTITY_ID']);
  }
  const pushed = await pushTo(api, [{ entity_id: id, event_timestamp: AT, vector: [1, 2] }]);
  expect(pushed.body.rejected).toMatchObject([{ code: 'BAD_ENTITY_ID' }]);
});

test('a path that is not percent-encoded text is refused', async () => {
  const api = await startWithJob();
  const { status, type, body } = await api.send('GET', '/v1/feature-views/job/entities/%ff');
  expect([status, type, body.code]).toEqual([422, 'application/problem+json', 'BAD_REQUEST']);
});

test('a number and its decimal text are one id', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    { entity_id: -7, event_timestamp: AT, vector: [1, 2] },
    { entity_id: '-7', event_timestamp: minutesAgo(5), vector: [3, 4] },
  ]);
  const { body } = await api.send('GET', '/v1/feature-views/job/entities/-7/timeline');
  expect(body.revisions).toHaveLength(2);
});

test('a deleted entity is gone from its event time on, and there before it (A7)', async () => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: 'a', event_timestamp: AT, vector: [1, 2] }]);
  const path = '/v1/feature-views/job/entities/a';
  const { status, body } = await api.send('DELETE', `${path}?event_timestamp=${minutesAgo(5)}`);
  expect(status).toBe(200);
  expect(body).toEqual({
    feature_view: 'job',
    entity_id: 'a',
    snapshot: api.deps.store.snapshot,
    versions: { v1: { latest: 1, history: 0, duplicate: 0 } },
  });
  const gone = { status: 'NOT_FOUND', reason: 'DELETED', vector: null };
  expect((await api.send('GET', path)).body).toMatchObject(gone);
  expect((await api.send('GET', `${path}?as_of=${minutesAgo(5)}`)).body).toMatchObject(gone);
  const before = await api.send('GET', `${path}?as_of=${minutesAgo(5.01)}`);
  expect(before.body).toMatchObject({ status: 'PRESENT', vector: [1, 2] });
});

test('a delete without a time is one of now', async () => {
  const api = await startWithJob();
  const path = '/v1/feature-views/job/entities/a';
  await api.send('DELETE', path);
  expect((await api.send('GET', path)).body).toMatchObject({ event_timestamp: NOW });
});

test.each([
  [`?event_timestamp=${minutesAgo(-6)}`, 422, 'FUTURE_TIMESTAMP'],
  ['?event_timestamp=now', 422, 'BAD_TIMESTAMP'],
  ['?version=v9', 404, 'VERSION_NOT_FOUND'],
  ['?when=now', 422, 'BAD_REQUEST'],
])('a delete with %s is refused', async (query, status, code) => {
  const api = await startWithJob();
  const answer = await api.send('DELETE', `/v1/feature-views/job/entities/a${query}`);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});

test.each([
  ['job/entities/a?as_of=yesterday', 422, 'BAD_TIMESTAMP'],
  ['job/entities/a?at_snapshot=-1', 422, 'BAD_REQUEST'],
  ['job/entities/a?at_snapshot=', 422, 'BAD_REQUEST'],
  ['job/entities/a?at_snapshot=999999999', 409, 'SNAPSHOT_UNAVAILABLE'],
  ['job/entities/a?version=v9', 404, 'VERSION_NOT_FOUND'],
  ['job/entities/a?max_ages=P1D', 422, 'BAD_REQUEST'],
  ['nobody/entities/a', 404, 'VIEW_NOT_FOUND'],
])('%s is refused', async (path, status, code) => {
  const api = await startWithJob();
  const answer = await api.send('GET', `/v1/feature-views/${path}`);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});
