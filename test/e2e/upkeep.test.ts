import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const VIEW = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 64, dtype: 'float32' };

async function metric(server: ServerProcess, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(name));
  return Number(line?.split(' ').at(-1));
}

test('a server moves its horizon on, compacts what retention let go and what was erased, by itself (A8, A10)', async () => {
  const data = tempDirectory();
  const config = join(tempDirectory(), 'tidemark.yaml');
  writeFileSync(config, 'maintenance: {interval_seconds: 1, erased_within_seconds: 0}\n');
  const server = await ServerProcess.start(data, ['--config', config]);
  await server.ask('PUT', '/v1/feature-views/job', { ...VIEW, retention: 'PT1S' });
  const push = async (day: number): Promise<unknown> =>
    server.ask('POST', '/v1/push', {
      feature_view: 'job',
      known: 'event',
      records: Array.from({ length: 200 }, (_, id) => ({
        entity_id: `job-${id}`,
        event_timestamp: new Date(Date.UTC(2026, 0, day)).toISOString(),
        vector: Array.from({ length: 64 }, (__, at) => day + id + at),
      })),
    });
  for (let day = 1; day <= 20; day++) await push(day);
  await expect
    .poll(async () => metric(server, 'tidemark_compactions_total{outcome="done",cause="upkeep"}'), {
      timeout: 30_000,
    })
    .toBeGreaterThan(0);
  const view = await server.ask<{ horizon: string; versions: object }>(
    'GET',
    '/v1/feature-views/job',
  );
  expect(view).toMatchObject({ versions: { v1: { entities: 200, revisions: 200, vectors: 200 } } });
  expect(Date.parse(view.horizon)).toBeGreaterThan(Date.UTC(2026, 0, 20));
  const compactions = await metric(
    server,
    'tidemark_compactions_total{outcome="done",cause="upkeep"}',
  );
  await server.ask('POST', '/v1/erase', { entity: 'job', entity_ids: ['job-7'] });
  await expect
    .poll(async () => metric(server, 'tidemark_erasures_waiting'), { timeout: 30_000 })
    .toBe(0);
  expect(await metric(server, 'tidemark_compactions_total{outcome="done",cause="upkeep"}')).toBe(
    compactions + 1,
  );
  expect(await metric(server, 'tidemark_skew_mismatches_total')).toBe(0);
  expect(readdirSync(join(data, 'views/job/v1'))).toHaveLength(1);
  expect(await server.terminate()).toBe(0);
});
