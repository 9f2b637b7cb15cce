import { expect, test, vi } from 'vitest';

import { TidemarkError, TryLater } from '../../src/ground/errors.ts';
import { writeNumbers } from '../../src/store/dtype.ts';
import { JOB, startApi } from './harness.ts';

const VERSION = { version: 'v2', dim: 2, dtype: 'float32', model: { name: 'mini' } };
const RECORD = { entity_id: 'a', event_timestamp: '2026-03-01T11:00:00Z', text: 'nurse' };
const BODY = { feature_view: 'job', version: 'v2', records: [RECORD] };

test('a caller that leaves while its texts wait for a model gives them up', async () => {
  let waiting: AbortSignal | undefined;
  const api = await startApi({
    addTexts: async (_view, _version, _batch, _inputs, signal) => {
      waiting = signal;
      const given = Promise.withResolvers<never>();
      signal?.addEventListener('abort', () => given.reject(signal.reason));
      return given.promise;
    },
  });
  await api.send('PUT', '/v1/feature-views/job', JOB);
  await api.send('POST', '/v1/feature-views/job/versions', VERSION);
  const leaving = new AbortController();
  const asked = fetch(`${api.url}/v1/push`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(BODY),
    signal: leaving.signal,
  });
  const outcome = Promise.allSettled([asked]);
  await vi.waitUntil(() => waiting !== undefined);
  // Its body is read and its answer is awaited: that alone is no leaving.
  await api.send('GET', '/livez');
  expect(waiting?.aborted).toBe(false);
  leaving.abort();
  await outcome;
  await vi.waitUntil(() => waiting?.aborted);
  expect(waiting?.reason).toMatchObject({ message: expect.stringContaining('left') });
});

test.each([
  [new TryLater('OVERLOADED', 'full', 17), 429, '17'],
  [new TryLater('MODEL_UNAVAILABLE', 'starting', 5), 503, '5'],
  [new TidemarkError('INFERENCE_FAILED', 'died'), 422, null],
])('%s is told with the time to come again', async (error, status, retryAfter) => {
  const api = await startApi({
    addTexts: async () => {
      throw error;
    },
  });
  await api.send('PUT', '/v1/feature-views/job', JOB);
  await api.send('POST', '/v1/feature-views/job/versions', VERSION);
  const answer = await api.send('POST', '/v1/push', BODY);
  expect(answer.status).toBe(status);
  expect(answer.headers.get('retry-after')).toBe(retryAfter);
});

test('a version that is added while a push waits for its vectors gets them, too', async () => {
  const asked: string[] = [];
  const api = await startApi({
    addTexts: async (_view, { version, dim, dtype, model }, batch, records) => {
      if (asked.length === 0) {
        const { v1 } = api.deps.store.catalogue.mustGetView('job').versions;
        api.deps.store.addVersion('job', { ...v1!, version: 'v2', model: model! });
      }
      asked.push(version);
      const rows = records.map(({ event, known }) => {
        writeNumbers([1, 2], dim, dtype, batch.nextPayload());
        return [{ event, known, payload: batch.addFilled() }];
      });
      return { rows, release: () => {} };
    },
  });
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, model: { name: 'mini' } });
  const { body } = await api.send('POST', '/v1/push', { feature_view: 'job', records: [RECORD] });
  expect(body.versions).toEqual({
    v1: { latest: 1, history: 0, duplicate: 0 },
    v2: { latest: 1, history: 0, duplicate: 0 },
  });
  expect(asked).toEqual(['v1', 'v1', 'v2']);
});
