import { once } from 'node:events';

import { pack } from 'msgpackr';
import { expect, test, vi } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import { minutesAgo, pushTo, startWithJob } from './harness.ts';

type Bring = NonNullable<Deps['prefetch']>['bring'];

async function startCold(bring: Bring, isCold = true) {
  const api = await startWithJob({ prefetch: { isCold, bring } });
  await pushTo(api, [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 0] },
    { entity_id: 2, event_timestamp: minutesAgo(20), vector: [0, 2] },
  ]);
  return api;
}

const LOOKUP = { lookups: [{ feature_view: 'job', entity_ids: [1, '2', '', 7, null] }] };
const MSGPACK = {
  'content-type': 'application/x-msgpack',
  accept: 'application/x-msgpack',
};

test('while cold vectors are brought, other requests are answered', async () => {
  const later = { entity_id: 2, event_timestamp: minutesAgo(1), vector: [5, 5] };
  const held = Promise.withResolvers<void>();
  const bring = vi.fn<Bring>(async () => held.promise);
  const api = await startCold(bring);
  let isAnswered = false;
  const cold = api.send('POST', '/v1/lookup', LOOKUP).finally(() => (isAnswered = true));
  await expect.poll(() => bring.mock.calls.length).toBe(1);
  expect((await api.send('GET', '/v1/feature-views/job')).status).toBe(200);
  expect((await pushTo(api, [later])).status).toBe(200);
  expect(isAnswered).toBe(false);
  held.resolve();
  // Answered from the state that there is by then, and not that of when it came.
  expect((await cold).body).toMatchObject({
    results: [{ vectors: [[1, 0], [5, 5], null, null, null] }],
  });
});

test.each<[string, string, string, unknown, string[][]]>([
  ['a lookup', 'POST', '/v1/lookup', LOOKUP, [['1', '2', '7']]],
  [
    'scores',
    'POST',
    '/v1/score',
    {
      query: { feature_view: 'job', entity_id: 2 },
      feature_view: 'job',
      entity_ids: [1, 7],
    },
    [['1', '7'], ['2']],
  ],
  [
    'Feast’s question',
    'POST',
    '/get-online-features',
    { features: ['job:vector'], entities: { job_id: [2, 1] } },
    [['2', '1']],
  ],
  ['one entity', 'GET', '/v1/feature-views/job/entities/2', undefined, [['2']]],
])('%s waits for what it reads, and for no more', async (_, method, path, body, brought) => {
  const bring = vi.fn<Bring>(async () => {});
  const api = await startCold(bring);
  const cold = await api.send(method, path, body);
  expect(cold.status).toBe(200);
  expect(bring.mock.calls.map(([version, ids]) => [version.view, ids])).toEqual(
    brought.map((ids) => ['job', ids]),
  );
});

test('ids of MessagePack are brought as they are looked up', async () => {
  const bring = vi.fn<Bring>(async () => {});
  const api = await startCold(bring);
  const { status } = await api.send('POST', '/v1/lookup', pack(LOOKUP), MSGPACK);
  expect(status).toBe(200);
  expect(bring.mock.calls[0]![1]).toEqual(['1', '2', '7']);
});

test('of warm data nothing is brought', async () => {
  const bring = vi.fn<Bring>(async () => {});
  const api = await startCold(bring, false);
  expect((await api.send('POST', '/v1/lookup', LOOKUP)).status).toBe(200);
  expect(bring).not.toHaveBeenCalled();
});

test.each([
  ['an unknown view', { lookups: [{ feature_view: 'none', entity_ids: [1] }] }, 404],
  ['a snapshot that is to come', { ...LOOKUP, at_snapshot: 99_999 }, 409],
  [
    'more ids than are allowed',
    { lookups: [{ feature_view: 'job', entity_ids: Array.from({ length: 10_001 }, () => 1) }] },
    413,
  ],
])('%s is refused as ever, and nothing is brought', async (_, body, status) => {
  const bring = vi.fn<Bring>(async () => {});
  const api = await startCold(bring);
  expect((await api.send('POST', '/v1/lookup', body)).status).toBe(status);
  expect(bring).not.toHaveBeenCalled();
});

test('a lookup whose time is over while it waits for its vectors is given up', async () => {
  const bring = vi.fn<Bring>(async (_version, _ids, _question, gone) => {
    await once(gone, 'abort');
  });
  const api = await startCold(bring);
  const { status, body } = await api.send('POST', '/v1/lookup', LOOKUP, {
    'x-request-timeout-ms': '100',
  });
  expect([status, body.code]).toEqual([504, 'DEADLINE_EXCEEDED']);
  expect(bring).toHaveBeenCalledOnce();
});

test('a lookup is answered where nothing could be brought', async () => {
  const api = await startCold(async () => {
    throw new Error('no thread could be started');
  });
  expect((await api.send('POST', '/v1/lookup', LOOKUP)).status).toBe(200);
});
