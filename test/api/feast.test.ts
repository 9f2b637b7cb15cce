import { expect, test } from 'vitest';

import { feastAnswer } from '../../src/api/schemas/feast.ts';
import { type Api, JOB, minutesAgo, pushTo, startWithJob } from './harness.ts';

const EPOCH = '1970-01-01T00:00:00Z';

async function startFilled(): Promise<Api> {
  const api = await startWithJob();
  const member = { ...JOB, entity: 'member', join_key: 'member_id', dim: 1, max_age: 'PT1H' };
  await api.send('PUT', '/v1/feature-views/member', member);
  await pushTo(api, [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 0] },
    { entity_id: 'a', event_timestamp: minutesAgo(10), vector: [3, 4] },
  ]);
  const records = [
    { entity_id: 7, event_timestamp: minutesAgo(90), vector: [5] },
    { entity_id: 8, event_timestamp: minutesAgo(30), vector: [6] },
  ];
  await pushTo(api, records, { feature_view: 'member' });
  return api;
}

function ask(api: Api, body: object) {
  return api.send('POST', '/get-online-features', body);
}

function minute(minutes: number): string {
  return minutesAgo(minutes).replace('.000', '');
}

test('Feast’s question has Feast’s answer: join keys, then one column a feature', async () => {
  const api = await startFilled();
  const { status, body } = await ask(api, {
    features: ['job:embedding', 'member:vector'],
    entities: { job_id: [1, 'a', 'none'], member_id: [7, 8, ''] },
    full_feature_names: false,
  });
  expect(status).toBe(200);
  expect(feastAnswer.parse(body)).toEqual(body);
  expect(body).toEqual({
    metadata: { feature_names: ['job_id', 'member_id', 'embedding', 'vector'] },
    results: [
      {
        values: [1, 'a', 'none'],
        statuses: ['PRESENT', 'PRESENT', 'PRESENT'],
        event_timestamps: [EPOCH, EPOCH, EPOCH],
      },
      {
        values: [7, 8, ''],
        statuses: ['PRESENT', 'PRESENT', 'PRESENT'],
        event_timestamps: [EPOCH, EPOCH, EPOCH],
      },
      {
        values: [[1, 0], [3, 4], null],
        statuses: ['PRESENT', 'PRESENT', 'NOT_FOUND'],
        event_timestamps: [minute(30), minute(10), EPOCH],
      },
      {
        values: [null, [6], null],
        statuses: ['OUTSIDE_MAX_AGE', 'PRESENT', 'INVALID'],
        event_timestamps: [minute(90), minute(30), EPOCH],
      },
    ],
  });
});

test('whole numbers of a vector have a point, as Feast’s clients want of floats', async () => {
  const api = await startWithJob({});
  await api.send('PUT', '/v1/feature-views/wide', { ...JOB, dim: 4 });
  const vector = [1, 0.5, 1e30, -3];
  const records = [{ entity_id: 1, event_timestamp: minutesAgo(1), vector }];
  await pushTo(api, records, { feature_view: 'wide' });
  const { bytes } = await ask(api, { features: ['wide:vector'], entities: { job_id: [1] } });
  expect(bytes.toString()).toContain('"values":[[1.0,0.5,1.0000000150474662e+30,-3.0]]');
});

test('features are called in full, of the version that is named, where that is asked', async () => {
  const api = await startFilled();
  const { body } = await ask(api, {
    features: ['job:vector', 'member@v1:vector'],
    entities: { job_id: [1], member_id: [8] },
    full_feature_names: true,
    include_feature_view_version_metadata: true,
    of_a_later_feast: true,
  });
  expect(body).toMatchObject({
    metadata: {
      feature_names: ['job_id', 'member_id', 'job__vector', 'member__vector'],
      feature_view_metadata: [
        { name: 'job', version: 1 },
        { name: 'member', version: 1 },
      ],
    },
  });
});

test('of two features with one name it is said how to tell them apart', async () => {
  const api = await startFilled();
  const asked = { features: ['job:v', 'member:v'], entities: { job_id: [1], member_id: [7] } };
  const { body } = await ask(api, asked);
  expect(body).toMatchObject({ detail: expect.stringContaining('full_feature_names') });
  const told = await ask(api, { ...asked, full_feature_names: true });
  expect(told.status).toBe(200);
});

test('a join key that objects have by themselves is missed like any other', async () => {
  const api = await startFilled();
  await api.send('PUT', '/v1/feature-views/odd', { ...JOB, join_key: 'constructor' });
  const { status, body } = await ask(api, { features: ['odd:vector'], entities: { id: [1] } });
  expect([status, body.detail]).toEqual([422, expect.stringContaining('the join key constructor')]);
});

test.each([
  ['a feature service', { feature_service: 'ranking', features: undefined }, 'BAD_REQUEST'],
  ['no features', { features: [] }, 'BAD_REQUEST'],
  ['a feature without a view', { features: ['vector'] }, 'BAD_REQUEST'],
  ['a view that is none', { features: ['none:vector'] }, 'VIEW_NOT_FOUND'],
  ['a version that is none', { features: ['job@v9:vector'] }, 'VERSION_NOT_FOUND'],
  ['another join key', { entities: { id: [1] } }, 'BAD_REQUEST'],
  ['no entities', { entities: {} }, 'BAD_REQUEST'],
  ['columns of other lengths', { entities: { job_id: [1], member_id: [] } }, 'BAD_REQUEST'],
  ['one name twice', { features: ['job:vector', 'job@v1:vector'] }, 'NAME_COLLISION'],
])('a question with %s is refused', async (_what, change, code) => {
  const api = await startFilled();
  const asked = { features: ['job:vector'], entities: { job_id: [1] }, ...change };
  const { status, body } = await ask(api, asked);
  expect(status).toBeGreaterThanOrEqual(400);
  expect(body).toMatchObject({ code });
});
