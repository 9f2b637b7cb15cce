import { expect, test } from 'vitest';

import { textsOf } from '../support/texts.ts';
import { JOB, NOW, pushTo, startApi, startWithJob } from './harness.ts';

test('a view is created once, and creating it again just so changes nothing', async () => {
  const api = await startApi();
  const first = await api.send('PUT', '/v1/feature-views/job', JOB);
  expect(first.status).toBe(201);
  expect(first.body).toEqual({
    feature_view: 'job',
    entity: 'job',
    join_key: 'job_id',
    max_age: null,
    retention: null,
    history: 'all',
    horizon: null,
    created_timestamp: NOW,
    aliases: { current: 'v1' },
    versions: {
      v1: {
        dim: 2,
        dtype: 'float32',
        created_timestamp: NOW,
        kept_until: null,
        model: null,
        entities: 0,
        revisions: 0,
        vectors: 0,
        kept_input_bytes: 0,
        health: null,
        file_bytes: expect.any(Number),
      },
    },
  });
  const again = await api.send('PUT', '/v1/feature-views/job', JOB);
  expect(again.status).toBe(200);
  expect(again.body).toEqual(first.body);
});

test.each([
  [{ entity: 'posting' }, 'its entity is "job", not "posting"'],
  [{ join_key: 'id' }, 'its join_key is "job_id", not "id"'],
  [{ dim: 3 }, 'its dim is 2, not 3'],
  [{ dtype: 'float16' }, 'its dtype is "float32", not "float16"'],
  [{ model: { name: 'mini' } }, 'its model is null, not {"name":"mini"}'],
  [{ version: 'v2' }, 'POST /v1/feature-views/{view}/versions'],
])('a view that is there is not changed to %j', async (change, why) => {
  const api = await startWithJob();
  const { status, body } = await api.send('PUT', '/v1/feature-views/job', { ...JOB, ...change });
  expect(status).toBe(409);
  expect(body.code).toBe('VIEW_CONFLICT');
  expect(body.detail).toContain(why);
});

test.each([
  ['no view', { ...JOB, dim: undefined }, 'body/dim'],
  ['a dim of 0', { ...JOB, dim: 0 }, 'body/dim'],
  ['a dim of 8,193', { ...JOB, dim: 8_193 }, 'body/dim'],
  ['an unknown dtype', { ...JOB, dtype: 'int4' }, 'body/dtype'],
  ['a version that no path can have', { ...JOB, version: '../v1' }, 'body/version'],
  ['a field that there is not', { ...JOB, max_ages: 'P1D' }, 'body'],
])('a view with %s is refused and the place is named', async (_what, view, path) => {
  const api = await startApi();
  const { status, body } = await api.send('PUT', '/v1/feature-views/job', view);
  expect(status).toBe(422);
  expect(body).toMatchObject({ code: 'BAD_REQUEST', errors: [{ path }] });
});

test('a view name that no path can have is refused', async () => {
  const api = await startApi();
  const { status, body } = await api.send('PUT', '/v1/feature-views/a%2Fb', JOB);
  expect(status).toBe(422);
  expect(body).toMatchObject({ code: 'BAD_REQUEST', errors: [{ path: 'path/view' }] });
});

test.each(['event_timestamp', '__summary', '__error'])(
  'a view whose ids would stand in the column %s is refused',
  async (join_key) => {
    const api = await startApi();
    const answer = await api.send('PUT', '/v1/feature-views/job', { ...JOB, join_key });
    expect([answer.status, answer.body.code]).toEqual([422, 'BAD_REQUEST']);
    expect(answer.body.detail).toContain('body/join_key: expected another name');
  },
);

test('a version is added beside the current one, once', async () => {
  const api = await startWithJob();
  const version = { version: 'v2', dim: 3, dtype: 'float16' };
  const first = await api.send('POST', '/v1/feature-views/job/versions', version);
  expect(first.status).toBe(201);
  expect(first.body.aliases).toEqual({ current: 'v1', candidate: 'v2' });
  expect(Object.keys(first.body.versions as object)).toEqual(['v1', 'v2']);
  const again = await api.send('POST', '/v1/feature-views/job/versions', version);
  expect(again.status).toBe(200);
  const other = await api.send('POST', '/v1/feature-views/job/versions', { ...version, dim: 4 });
  expect([other.status, other.body.code]).toEqual([409, 'VIEW_CONFLICT']);
  const nowhere = await api.send('POST', '/v1/feature-views/member/versions', version);
  expect([nowhere.status, nowhere.body.code]).toEqual([404, 'VIEW_NOT_FOUND']);
});

test('a version with a model has the model’s dim and its fingerprint', async () => {
  const api = await startApi();
  const model = { name: 'mini', prompt: { template: '{{title}}', fields: ['title'] } };
  const { status, body } = await api.send('PUT', '/v1/feature-views/job', { ...JOB, model });
  expect(status).toBe(201);
  expect(body).toMatchObject({
    versions: { v1: { model: { ...model, fingerprint: 'of-today' } } },
  });
  const wrongDim = await api.send('PUT', '/v1/feature-views/other', { ...JOB, model, dim: 3 });
  expect([wrongDim.status, wrongDim.body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(wrongDim.body.detail).toContain('vectors of dim 2, got the dim 3');
  const missing = { ...JOB, model: { name: 'missing' } };
  const none = await api.send('PUT', '/v1/feature-views/other', missing);
  expect([none.status, none.body.code]).toEqual([422, 'MODEL_INVALID']);
});

test('a version keeps its inputs or does not, from its first day on, and says what they take', async () => {
  const api = await startApi();
  const keeping = { ...JOB, model: { name: 'mini', keep_inputs: true } };
  const made = await api.send('PUT', '/v1/feature-views/job', keeping);
  expect(made.body).toMatchObject({ versions: { v1: { model: keeping.model } } });
  expect((await api.send('PUT', '/v1/feature-views/job', keeping)).status).toBe(200);
  const other = { ...JOB, model: { name: 'mini', keep_inputs: false } };
  const refused = await api.send('PUT', '/v1/feature-views/job', other);
  expect([refused.status, refused.body.code]).toEqual([409, 'VIEW_CONFLICT']);
  const version = { ...other, version: 'v2', entity: undefined, join_key: undefined };
  const added = await api.send('POST', '/v1/feature-views/job/versions', version);
  expect(added.body).toMatchObject({
    versions: { v2: { model: { name: 'mini', fingerprint: 'of-today' }, kept_input_bytes: 0 } },
  });
  const text = 'nurse';
  const batch = textsOf([{ id: 'a', event: 1, text }]);
  await api.deps.store.commit('job', 'v1', { rows: batch });
  const { body } = await api.send('GET', '/v1/feature-views/job');
  expect(body).toMatchObject({ versions: { v1: { kept_input_bytes: 4_096 } } });
});

test('a view whose model has another fingerprint now is not the same view', async () => {
  let fingerprint = 'of-today';
  const api = await startApi({
    bindModel: async ({ name }) => ({ binding: { name, fingerprint }, dim: 2 }),
  });
  const view = { ...JOB, model: { name: 'mini' } };
  await api.send('PUT', '/v1/feature-views/job', view);
  fingerprint = 'of-tomorrow';
  const { status, body } = await api.send('PUT', '/v1/feature-views/job', view);
  expect([status, body.code]).toEqual([409, 'MODEL_CHANGED']);
});

test('views are listed by name with what they hold, and shown one by one', async () => {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/article', { ...JOB, entity: 'article' });
  await pushTo(api, [{ entity_id: 1, event_timestamp: NOW, vector: [1, 2] }]);
  const { body } = await api.send('GET', '/v1/feature-views');
  expect(body).toMatchObject({
    feature_views: [{ feature_view: 'article' }, { feature_view: 'job' }],
  });
  const one = await api.send('GET', '/v1/feature-views/job');
  expect(one.body).toMatchObject({ versions: { v1: { entities: 1, revisions: 1, vectors: 1 } } });
  const none = await api.send('GET', '/v1/feature-views/nobody');
  expect([none.status, none.body.code]).toEqual([404, 'VIEW_NOT_FOUND']);
});

test('a dropped view is gone with its vectors, and its name is free', async () => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: 1, event_timestamp: NOW, vector: [1, 2] }]);
  expect((await api.send('DELETE', '/v1/feature-views/job')).status).toBe(204);
  expect((await api.send('GET', '/v1/feature-views/job')).status).toBe(404);
  expect((await api.send('DELETE', '/v1/feature-views/job')).status).toBe(404);
  await api.send('PUT', '/v1/feature-views/job', JOB);
  const { body } = await api.send('GET', '/v1/feature-views/job/entities/1');
  expect(body.status).toBe('NOT_FOUND');
});
