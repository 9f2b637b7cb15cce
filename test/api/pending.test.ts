import { unpack } from 'msgpackr';
import { expect, test } from 'vitest';

import { lookupAnswer } from '../../src/api/schemas/lookup.ts';
import { Pending } from '../../src/ingest/pending.ts';
import { parseSafetensors } from '../../src/timetravel/formats/safetensors.ts';
import { type Api, JOB, minutesAgo, pushTo, startApi } from './harness.ts';

const VECTOR = [1, 1];

async function startWaiting(): Promise<{ api: Api; pending: Pending; settle: () => void }> {
  const pending = new Pending();
  const api = await startApi({ pendingOf: (view, version) => pending.of(view, version) });
  await api.send('PUT', '/v1/feature-views/job', JOB);
  await pushTo(api, [
    { entity_id: 'old', event_timestamp: minutesAgo(9), vector: VECTOR },
    { entity_id: 'idle', event_timestamp: minutesAgo(9), vector: VECTOR },
    { entity_id: 'gone', event_timestamp: minutesAgo(9), vector: VECTOR },
  ]);
  await api.send('POST', '/v1/erase', { entity: JOB.entity, entity_ids: ['gone'] });
  const settle = pending.add('job', 'v1', ['old', 'new', 'gone']);
  return { api, pending, settle };
}

const LOOKUP = { lookups: [{ feature_view: 'job', entity_ids: ['idle', 'old', 'new', 'gone'] }] };

async function pendingIn(api: Api, more: object = {}): Promise<unknown> {
  const { body } = await api.send('POST', '/v1/lookup', { ...LOOKUP, ...more });
  return lookupAnswer.parse(body).results[0]!.pending;
}

test('a latest lookup says of which entities a text waits for its vector, with and without one of before', async () => {
  const { api, settle } = await startWaiting();
  const { body } = await api.send('POST', '/v1/lookup', LOOKUP);
  // The statuses are what they are without the hint.
  expect(lookupAnswer.parse(body).results[0]).toMatchObject({
    pending: [1, 2],
    statuses: ['PRESENT', 'PRESENT', 'NOT_FOUND', 'NOT_FOUND'],
    reasons: [null, null, null, 'ERASED'],
  });
  settle();
  expect(await pendingIn(api)).toBeUndefined();
});

test('the binary formats say it too', async () => {
  const { api } = await startWaiting();
  const ask = async (accept: string): Promise<Buffer> =>
    (await api.send('POST', '/v1/lookup', LOOKUP, { accept })).bytes;
  expect(unpack(await ask('application/vnd.msgpack')).results[0].pending).toEqual([1, 2]);
  const { metadata } = parseSafetensors(await ask('application/vnd.safetensors'));
  expect(JSON.parse(metadata['results']!)[0].pending).toEqual([1, 2]);
});

test('what is on its way is no part of the past: questions with a bound do not tell (A9)', async () => {
  const { api } = await startWaiting();
  expect(await pendingIn(api, { as_of: minutesAgo(0) })).toBeUndefined();
  expect(await pendingIn(api, { known_at: minutesAgo(0) })).toBeUndefined();
  expect(await pendingIn(api, { at_snapshot: api.deps.store.snapshot })).toBeUndefined();
  expect(await pendingIn(api, { as_of: null })).toEqual([1, 2]);
});

test('a single entity says it of itself', async () => {
  const { api } = await startWaiting();
  const get = async (id: string, query = ''): Promise<unknown> =>
    (await api.send('GET', `/v1/feature-views/job/entities/${id}${query}`)).body['pending'];
  expect([await get('old'), await get('new'), await get('idle'), await get('gone')]).toEqual([
    true,
    true,
    undefined,
    undefined,
  ]);
  expect(await get('old', `?as_of=${minutesAgo(0)}`)).toBeUndefined();
});
