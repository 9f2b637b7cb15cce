import { expect, test } from 'vitest';

import { JOB, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

interface Receipt {
  erasure_id: string;
  stages: { erased: { removed_at: string | null }; compacted: { at: string | null } };
}

async function statusOf(api: Awaited<ReturnType<typeof startWithJob>>, id: string) {
  const { body } = await api.send('GET', `/v1/feature-views/job/entities/${id}`);
  return [body['status'], body['reason']];
}

test('an erasure is answered with a receipt whose second stage comes with compaction, and which names no entity (A8)', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    { entity_id: 'someone', event_timestamp: minutesAgo(2), vector: [1, 2] },
    { entity_id: 'other', event_timestamp: minutesAgo(2), vector: [3, 4] },
  ]);
  const erased = await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: ['someone'] });
  expect(erased.status).toBe(200);
  expect(erased.body).toMatchObject({
    entity: 'job',
    feature_view: null,
    entities: 1,
    stages: {
      erased: {
        at: NOW,
        removed_at: NOW,
        removed: { entities: 1, revisions: 1, inputs: 0, dead_letters: 0 },
      },
      compacted: { at: null },
    },
  });
  expect(erased.body['out_of_reach']).toHaveLength(7);
  expect(erased.bytes.toString()).not.toContain('someone');
  expect(await statusOf(api, 'someone')).toEqual(['NOT_FOUND', 'ERASED']);
  expect(await statusOf(api, 'other')).toEqual(['PRESENT', null]);
  const compacted = await api.send('POST', '/v1/compact', {});
  expect(compacted.body).toMatchObject({ compactions: [{ feature_view: 'job', version: 'v1' }] });
  const { erasure_id } = erased.body as unknown as Receipt;
  const now = await api.send('GET', `/v1/erasures/${erasure_id}`);
  expect(now.body).toMatchObject({ stages: { compacted: { at: NOW } } });
  const all = await api.send('GET', '/v1/erasures');
  expect(all.body).toEqual({ erasures: [now.body] });
});

test('nothing about an erased entity is stored until that is lifted, and an atomic push is refused whole (A8)', async () => {
  const api = await startWithJob();
  await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: [7] });
  const records = [
    { entity_id: 7, event_timestamp: minutesAgo(2), vector: [1, 2] },
    { entity_id: 8, event_timestamp: minutesAgo(2), vector: [1, 2] },
  ];
  const refused = await pushTo(api, records, { atomic: true });
  expect(refused).toMatchObject({
    status: 422,
    body: { rejected: [{ index: 0, code: 'ENTITY_ERASED' }] },
  });
  expect(await statusOf(api, '8')).toEqual(['NOT_FOUND', null]);
  const pushed = await pushTo(api, records);
  expect(pushed.body).toMatchObject({
    versions: { v1: { latest: 1 } },
    rejected: [{ index: 0, code: 'ENTITY_ERASED' }],
  });
  const deleted = await api.send('DELETE', '/v1/feature-views/job/entities/7');
  expect(deleted).toMatchObject({ status: 409, body: { code: 'ENTITY_ERASED' } });
  const lifted = await api.send('POST', '/v1/erase/lift', { entity: 'job', entity_ids: ['7'] });
  expect(lifted.body).toEqual({ entity: 'job', feature_view: null, entities: 1 });
  expect((await pushTo(api, records)).body).toMatchObject({
    versions: { v1: { latest: 1, duplicate: 1 } },
    rejected: [],
  });
  expect(await statusOf(api, '7')).toEqual(['PRESENT', null]);
});

test('an erasure in one view leaves the other views of the entity type alone (A8)', async () => {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/title', JOB);
  for (const feature_view of ['job', 'title']) {
    await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(2), vector: [1, 2] }], {
      feature_view,
    });
  }
  const ids = { entity: 'job', entity_ids: ['a'] };
  await api.send('POST', '/v1/erase', { ...ids, feature_view: 'title' });
  expect(await statusOf(api, 'a')).toEqual(['PRESENT', null]);
  const title = await api.send('GET', '/v1/feature-views/title/entities/a');
  expect(title.body).toMatchObject({ status: 'NOT_FOUND', reason: 'ERASED' });
  // The lift is of another scope, and lifts nothing.
  await api.send('POST', '/v1/erase/lift', ids);
  const still = await api.send('GET', '/v1/feature-views/title/entities/a');
  expect(still.body).toMatchObject({ status: 'NOT_FOUND', reason: 'ERASED' });
});

test.each([
  [
    { entity: 'jobb', entity_ids: ['a'] },
    422,
    'BAD_REQUEST',
    'no feature view has the entity type',
  ],
  [{ entity: 'x', feature_view: 'job', entity_ids: ['a'] }, 422, 'BAD_REQUEST', 'entity type job'],
  [{ entity: 'job', feature_view: 'none', entity_ids: ['a'] }, 404, 'VIEW_NOT_FOUND', 'none'],
  [{ entity: 'job', entity_ids: [] }, 422, 'BAD_REQUEST', 'entity_ids'],
  [{ entity: 'job', entity_ids: ['a', ''] }, 422, 'BAD_ENTITY_ID', 'entity id'],
  [{ entity: 'job', entity_ids: Array(10_001).fill('a') }, 413, 'LIMIT_EXCEEDED', 'erase_ids'],
])('an erasure that is not in order erases nothing: %#', async (body, status, code, detail) => {
  const api = await startWithJob();
  const refused = await api.send('POST', '/v1/erase', body);
  expect(refused).toMatchObject({ status, body: { code } });
  expect(refused.body['detail']).toContain(detail);
  expect(await statusOf(api, 'a')).toEqual(['NOT_FOUND', null]);
});

test('an erasure that there was not has no receipt', async () => {
  const api = await startWithJob();
  expect(await api.send('GET', '/v1/erasures/none')).toMatchObject({
    status: 404,
    body: { code: 'ERASURE_NOT_FOUND' },
  });
});
