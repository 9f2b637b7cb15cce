import { expect, test } from 'vitest';

import { batchOf } from '../support/store.ts';
import { minutesAgo, pushTo, startWithJob } from './harness.ts';

test('no id of an erased entity reaches the log, the metrics, or what is said of the server (A8)', async () => {
  const logged: string[] = [];
  const stream = { write: (line: string) => void logged.push(line) };
  const api = await startWithJob({ logger: { level: 'info', stream } });
  const records = [{ entity_id: 'secret-id', event_timestamp: minutesAgo(1), vector: [1, 2] }];
  const erasure = { entity: 'job', entity_ids: ['secret-id'] };
  await pushTo(api, records);
  await api.send('POST', '/v1/erase', erasure);
  await pushTo(api, records);
  await pushTo(api, records, { atomic: true });
  await api.send('DELETE', '/v1/feature-views/job/entities/secret-id');
  await api.send('POST', '/v1/compact', {});
  await api.send('POST', '/v1/erase/lift', erasure);
  expect(logged.length).toBeGreaterThan(0);
  expect(logged.join('')).not.toContain('secret-id');
  expect(api.deps.store.refusal).toBeUndefined();
  for (const path of ['/metrics', '/v1/erasures', '/readyz']) {
    expect((await api.send('GET', path)).bytes.toString()).not.toContain('secret-id');
  }
});

test('a commit that an erasure overtook is refused to who asked, and no reason not to write (A8)', async () => {
  const api = await startWithJob();
  const { store } = api.deps;
  await store.erase({ entity: 'job' }, ['secret-id']);
  const rows = batchOf([{ id: 'secret-id', event: 1, vector: [1, 2] }]);
  await expect(store.commit('job', 'v1', { rows, isAtomic: true })).rejects.toThrow('was erased');
  expect([store.refusal, store.failure]).toEqual([undefined, undefined]);
});

test('a lift says how many were erased: of another scope none were (A8)', async () => {
  const api = await startWithJob();
  await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: ['a', 'b'] });
  const lift = async (body: object): Promise<unknown> =>
    (await api.send('POST', '/v1/erase/lift', { entity: 'job', ...body })).body.entities;
  expect(await lift({ entity_ids: ['a'], feature_view: 'job' })).toBe(0);
  expect(await lift({ entity_ids: ['a', 'a', 'c'] })).toBe(1);
  expect(await lift({ entity_ids: ['a', 'b'] })).toBe(1);
});
