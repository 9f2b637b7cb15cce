import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import type { GateResult } from '../../src/store/catalogue.ts';
import { type Api, minutesAgo, NOW, startWithJob } from './harness.ts';

const V2 = { version: 'v2', dim: 2, dtype: 'float32' };

/** The view `job` with v1 (current) that says [1, 0] of 7, and v2 (candidate) that says [0, 1]. */
async function startWithTwo(checkGates: Deps['checkGates'] = async () => []): Promise<Api> {
  const api = await startWithJob({ checkGates });
  await api.send('POST', '/v1/feature-views/job/versions', V2);
  for (const [version, vector] of [
    ['v1', [1, 0]],
    ['v2', [0, 1]],
  ]) {
    const records = [{ entity_id: '7', event_timestamp: minutesAgo(5), vector }];
    const pushed = await api.send('POST', '/v1/push', { feature_view: 'job', version, records });
    expect(pushed.status).toBe(200);
  }
  return api;
}

async function latest(api: Api, version?: string): Promise<unknown> {
  const lookups = [{ feature_view: 'job', entity_ids: ['7'], ...(version && { version }) }];
  const { body } = await api.send('POST', '/v1/lookup', { lookups });
  const [result] = body.results as { version: string; vectors: number[][] }[];
  return [result!.version, result!.vectors[0]];
}

async function promote(api: Api, version: string, body: object = {}) {
  return api.send('POST', `/v1/feature-views/job/versions/${version}/promote`, body);
}

test('a version that is added is the candidate, and is asked by its name or by that alias', async () => {
  const api = await startWithTwo();
  const { body } = await api.send('GET', '/v1/feature-views/job');
  expect(body.aliases).toEqual({ current: 'v1', candidate: 'v2' });
  expect(await latest(api)).toEqual(['v1', [1, 0]]);
  expect(await latest(api, 'candidate')).toEqual(['v2', [0, 1]]);
  expect(await latest(api, 'v2')).toEqual(['v2', [0, 1]]);
  const lookups = [{ feature_view: 'job', version: 'previous', entity_ids: ['7'] }];
  const missing = await api.send('POST', '/v1/lookup', { lookups });
  expect(missing.status).toBe(404);
  expect(missing.body.detail).toContain('job has no previous version now');
});

test('one request may ask several versions by name, and each answer says which it is', async () => {
  const api = await startWithTwo();
  const lookups = ['v1', 'v2'].map((version) => {
    return { name: version, feature_view: 'job', version, entity_ids: ['7'] };
  });
  const { body } = await api.send('POST', '/v1/lookup', { lookups });
  const results = body.results as { name: string; version: string; vectors: number[][] }[];
  expect(results.map((each) => [each.name, each.version, each.vectors[0]])).toEqual([
    ['v1', 'v1', [1, 0]],
    ['v2', 'v2', [0, 1]],
  ]);
});

test('a promoted version answers from then on, and the one before is kept for a day', async () => {
  const api = await startWithTwo();
  const promoted = await promote(api, 'v2', { reason: 'better recall' });
  expect(promoted.status).toBe(200);
  expect(promoted.body).toMatchObject({
    aliases: { current: 'v2', previous: 'v1' },
    kept_until: '2026-03-02T12:00:00Z',
    forced: false,
  });
  expect(await latest(api)).toEqual(['v2', [0, 1]]);
  expect(await latest(api, 'previous')).toEqual(['v1', [1, 0]]);
  const again = await promote(api, 'v2');
  expect(again.body.snapshot).toBe(promoted.body.snapshot);
});

test('a rollback has the version before answer again, and leaves the other one as the candidate', async () => {
  const api = await startWithTwo();
  await promote(api, 'v2', { keep: null });
  const back = await api.send('POST', '/v1/feature-views/job/rollback', { reason: 'clicks fell' });
  expect(back.status).toBe(200);
  expect(back.body.aliases).toEqual({ current: 'v1', candidate: 'v2' });
  expect(await latest(api)).toEqual(['v1', [1, 0]]);
  const { body } = await api.send('GET', '/v1/feature-views/job');
  expect(body).toMatchObject({ versions: { v1: { kept_until: null }, v2: { kept_until: null } } });
  const twice = await api.send('POST', '/v1/feature-views/job/rollback', {});
  expect(twice.status).toBe(409);
  expect(twice.body.code).toBe('NO_PREVIOUS');
});

const FAILED = { gate: 'coverage', ok: false, value: 0.5, bound: 0.99, message: '1 of 2 keys' };

test('a version that fails a gate is promoted by force alone, and the history says so', async () => {
  const api = await startWithTwo(async () => [FAILED]);
  const refused = await promote(api, 'v2');
  expect(refused.status).toBe(409);
  expect(refused.body).toMatchObject({ code: 'GATES_FAILED', gates: [FAILED] });
  expect(refused.body.detail).toContain('coverage: 1 of 2 keys');
  expect(await latest(api)).toEqual(['v1', [1, 0]]);
  const gates = await api.send('GET', '/v1/feature-views/job/versions/v2/gates');
  expect(gates.body).toMatchObject({ ok: false, gates: [FAILED] });

  expect((await promote(api, 'v2', { force: true, reason: 'night' })).status).toBe(200);
  const { body } = await api.send('GET', '/v1/feature-views/job/history');
  const events = body.events as { type: string }[];
  expect(events.map(({ type }) => type)).toEqual(['view', 'view', 'promoted']);
  expect(events[2]).toMatchObject({
    created_timestamp: NOW,
    aliases: { current: 'v2', previous: 'v1' },
    version: 'v2',
    forced: true,
    reason: 'night',
    gates: [FAILED],
  });
});

test('gates are about two versions: where one is another by the end of them, nothing is promoted', async () => {
  let meanwhile: (() => Promise<unknown>) | undefined;
  const checkGates = async (): Promise<GateResult[]> => {
    await meanwhile?.();
    return [];
  };
  const api = await startWithTwo(checkGates);
  await api.send('POST', '/v1/feature-views/job/versions', { ...V2, version: 'v3' });
  meanwhile = async () => {
    await api.send('DELETE', '/v1/feature-views/job/versions/v2');
    await api.send('POST', '/v1/feature-views/job/versions', V2);
  };
  const ofAnother = await promote(api, 'v2');
  expect([ofAnother.status, ofAnother.body.code]).toEqual([409, 'VIEW_CONFLICT']);
  meanwhile = async () => api.deps.store.promote('job', 'v3', { kept_until: undefined });
  const againstAnother = await promote(api, 'v2', { force: true });
  expect([againstAnother.status, againstAnother.body.code]).toEqual([409, 'VIEW_CONFLICT']);
  meanwhile = async () => api.deps.store.promote('job', 'v2', { kept_until: undefined });
  expect((await promote(api, 'v2')).body.aliases).toEqual({ current: 'v2', previous: 'v3' });
});

test('a retired version is gone with its files, and its name can be used again', async () => {
  const api = await startWithTwo();
  const folder = join(api.deps.store.catalogue.directory, 'views/job/v2');
  expect(existsSync(folder)).toBe(true);
  const inUse = await api.send('DELETE', '/v1/feature-views/job/versions/current');
  expect(inUse.status).toBe(409);
  expect(inUse.body.code).toBe('VERSION_IN_USE');
  const retired = await api.send('DELETE', '/v1/feature-views/job/versions/v2?reason=bad');
  expect(retired.status).toBe(200);
  expect(retired.body.aliases).toEqual({ current: 'v1' });
  expect(existsSync(folder)).toBe(false);
  expect((await api.send('POST', '/v1/feature-views/job/versions', V2)).status).toBe(201);
  const lookups = [{ feature_view: 'job', version: 'v2', entity_ids: ['7'] }];
  const { body } = await api.send('POST', '/v1/lookup', { lookups });
  expect(body.results).toMatchObject([{ statuses: ['NOT_FOUND'] }]);
});

test.each(['current', 'candidate', 'previous'])('no version can be called %s', async (version) => {
  const api = await startWithJob();
  const { status } = await api.send('POST', '/v1/feature-views/job/versions', { ...V2, version });
  expect(status).toBe(422);
});

test('a vector names its version itself, never an alias (A14)', async () => {
  const api = await startWithTwo();
  const records = [{ entity_id: '7', event_timestamp: minutesAgo(1), vector: [1, 1] }];
  const unnamed = await api.send('POST', '/v1/push', { feature_view: 'job', records });
  expect(unnamed.body.code).toBe('VERSION_REQUIRED');
  const push = { feature_view: 'job', version: 'current', records };
  expect((await api.send('POST', '/v1/push', push)).status).toBe(404);
});

test('a promotion and a rollback need no body', async () => {
  const api = await startWithTwo();
  const promoted = await api.send('POST', '/v1/feature-views/job/versions/v2/promote');
  expect(promoted.body).toMatchObject({
    aliases: { current: 'v2', previous: 'v1' },
    kept_until: '2026-03-02T12:00:00Z',
  });
  const back = await api.send('POST', '/v1/feature-views/job/rollback');
  expect(back.status).toBe(200);
  expect(await latest(api)).toEqual(['v1', [1, 0]]);
});
