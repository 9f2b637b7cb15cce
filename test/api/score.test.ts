import { pack, unpack } from 'msgpackr';
import { expect, test } from 'vitest';

import { scoreAnswer } from '../../src/api/schemas/score.ts';
import { parseSafetensors } from '../../src/timetravel/formats/safetensors.ts';
import { type Api, JOB, minutesAgo, pushTo, startWithJob } from './harness.ts';

async function startFilled(): Promise<Api> {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, dtype: 'float16' });
  await api.send('PUT', '/v1/feature-views/wide', { ...JOB, dim: 3 });
  await pushTo(api, [
    { entity_id: 1, event_timestamp: minutesAgo(30), vector: [1, 0] },
    { entity_id: 1, event_timestamp: minutesAgo(10), vector: [3, 4] },
    { entity_id: 2, event_timestamp: minutesAgo(20), vector: [0, 2] },
    { entity_id: 3, event_timestamp: minutesAgo(5), deleted: true },
  ]);
  const member = { entity_id: 'm', event_timestamp: minutesAgo(20), vector: [0.5, 0.25] };
  await pushTo(api, [member], { feature_view: 'member' });
  const wide = { entity_id: 'w', event_timestamp: minutesAgo(1), vector: [1, 2, 3] };
  await pushTo(api, [wide], { feature_view: 'wide' });
  return api;
}

const ASKED = {
  query: { feature_view: 'member', entity_id: 'm' },
  feature_view: 'job',
  entity_ids: [1, '2', 3, 'none', '', 1],
};

function score(api: Api, body: object, headers: Record<string, string> = {}) {
  return api.send('POST', '/v1/score', body, headers);
}

test('an entity is scored against others of another view, in their order, at one snapshot', async () => {
  const api = await startFilled();
  const { status, body } = await score(api, ASKED);
  expect(status).toBe(200);
  expect(scoreAnswer.parse(body)).toEqual(body);
  expect(body).toMatchObject({
    snapshot: api.deps.store.snapshot,
    metric: 'dot',
    query: { feature_view: 'member', version: 'v1', status: 'PRESENT', reason: null },
    feature_view: 'job',
    version: 'v1',
    statuses: ['PRESENT', 'PRESENT', 'NOT_FOUND', 'NOT_FOUND', 'INVALID', 'PRESENT'],
    reasons: [null, null, 'DELETED', null, 'BAD_ENTITY_ID', null],
    scores: [2.5, 0.5, null, null, null, 2.5],
  });
});

test('query and others are those of the same moment (A1)', async () => {
  const api = await startFilled();
  const early = await score(api, { ...ASKED, as_of: minutesAgo(15) });
  expect(early.body).toMatchObject({ scores: [0.5, 0.5, null, null, null, 0.5] });
  const before = await score(api, { ...ASKED, as_of: minutesAgo(25) });
  expect(before.body).toMatchObject({
    query: { status: 'NOT_FOUND' },
    statuses: ['PRESENT', 'NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND', 'INVALID', 'PRESENT'],
    scores: [null, null, null, null, null, null],
  });
});

test('a vector that is sent is rounded to the dtype of the version, and scored', async () => {
  const api = await startFilled();
  const bytes = Buffer.from(new Float32Array([2, 1]).buffer);
  for (const vector of [[2, 1], bytes.toString('base64')]) {
    const { body } = await score(api, { ...ASKED, query: { vector }, metric: 'cosine' });
    expect(body).toMatchObject({ query: null, metric: 'cosine' });
    const [first, second] = (body as { scores: number[] }).scores;
    expect(first).toBeCloseTo(10 / (5 * Math.sqrt(5)), 6);
    expect(second).toBeCloseTo(1 / Math.sqrt(5), 6);
  }
});

test('scores come in MessagePack and safetensors as in JSON', async () => {
  const api = await startFilled();
  const json = (await score(api, ASKED)).body;
  const type = 'application/vnd.msgpack';
  const packed = await api.send('POST', '/v1/score', pack(ASKED), {
    'content-type': type,
    accept: type,
  });
  expect(unpack(packed.bytes)).toEqual(json);
  const { bytes } = await score(api, ASKED, { accept: 'application/vnd.safetensors' });
  const { metadata, tensors } = parseSafetensors(bytes);
  const scores = new Float32Array(new Uint8Array(tensors.get('score')!.bytes).buffer);
  expect([...scores]).toEqual([2.5, 0.5, Number.NaN, Number.NaN, Number.NaN, 2.5]);
  expect([...tensors.get('status')!.bytes]).toEqual([0, 0, 1, 1, 3, 0]);
  expect(JSON.parse(metadata['result']!)).toMatchObject({ metric: 'dot', feature_view: 'job' });
});

test('a score beyond float32 is null in JSON, which has no infinity, and infinite in safetensors', async () => {
  const api = await startFilled();
  await pushTo(api, [{ entity_id: 'far', event_timestamp: minutesAgo(1), vector: [-3e38, 0] }]);
  const asked = { ...ASKED, query: { vector: [3e38, 0] }, entity_ids: ['far'] };
  const packing = { accept: 'application/vnd.msgpack' };
  const told = [(await score(api, asked)).body, unpack((await score(api, asked, packing)).bytes)];
  for (const each of told) expect(each).toMatchObject({ statuses: ['PRESENT'], scores: [null] });
  const { bytes } = await score(api, asked, { accept: 'application/vnd.safetensors' });
  const of = parseSafetensors(bytes).tensors.get('score')!.bytes;
  expect(new DataView(of.buffer, of.byteOffset).getFloat32(0, true)).toBe(-Infinity);
});

test('a query that is neither an entity nor a vector is told what it could be', async () => {
  const api = await startFilled();
  for (const query of [{}, undefined, 'm', { entity_id: 'm' }]) {
    const { body } = await score(api, { ...ASKED, query });
    expect(body).toMatchObject({ detail: expect.stringContaining('expected an entity') });
  }
});

test.each([
  ['neither an entity nor a vector', { query: {} }, 'BAD_REQUEST'],
  ['both', { query: { feature_view: 'member', entity_id: 'm', vector: [1, 2] } }, 'BAD_REQUEST'],
  ['an entity with another dim', { query: { feature_view: 'wide', entity_id: 'w' } }, 'BAD_VECTOR'],
  ['a vector with another dim', { query: { vector: [1, 2, 3] } }, 'BAD_VECTOR'],
  ['a vector that is no numbers', { query: { vector: ['1', 2] } }, 'BAD_VECTOR'],
  ['a metric that is none', { metric: 'l2' }, 'BAD_REQUEST'],
  ['a view that is none', { feature_view: 'none' }, 'VIEW_NOT_FOUND'],
])('a query with %s is refused', async (_what, change, code) => {
  const api = await startFilled();
  const { status, body } = await score(api, { ...ASKED, ...change });
  expect(status).toBeGreaterThanOrEqual(404);
  expect(body).toMatchObject({ code });
});
