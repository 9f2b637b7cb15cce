import { expect, onTestFinished, test } from 'vitest';

import { loadConfig } from '../../../src/config.ts';
import { addModel } from '../../../src/ingest/inference/models.ts';
import { startTidemark } from '../../../src/main.ts';
import { tempDirectory } from '../../support/temp.ts';
import { writeTinyModel } from './tiny-model.ts';

test('a text that kills the worker of its model is rejected alone, and the server goes on', async () => {
  const [data, models] = [tempDirectory(), tempDirectory()];
  await addModel(models, await writeTinyModel({ graphWords: 5 }), 'tiny');
  const settings = { data, models, port: 0, log_level: 'silent', inference: { workers: 2 } };
  const tidemark = await startTidemark(loadConfig(settings, {}));
  onTestFinished(async () => tidemark.stop());
  const send = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(tidemark.url + path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return answer.text();
  };
  await send('PUT', '/v1/feature-views/job', {
    entity: 'job',
    join_key: 'job_id',
    version: 'v1',
    dim: 2,
    dtype: 'float32',
    model: { name: 'tiny' },
  });
  const words = ['east', 'north', 'broken', 'west', 'east north'];
  const push = await send('POST', '/v1/push', {
    feature_view: 'job',
    records: words.map((text, at) => ({
      entity_id: `job-${at}`,
      event_timestamp: '2026-03-01T00:00:00Z',
      text,
    })),
  });
  expect(JSON.parse(push)).toMatchObject({
    versions: { v1: { latest: 4 } },
    rejected: [{ index: 2, code: 'INFERENCE_FAILED' }],
  });
  const metrics = await send('GET', '/metrics');
  const restarts = /^tidemark_embed_worker_restarts_total\{model="tiny"\} (\d+)/m.exec(metrics);
  // At least with others twice, and alone twice.
  expect(Number(restarts?.[1])).toBeGreaterThanOrEqual(4);
  expect(metrics).toContain('tidemark_embed_errors_total{model="tiny",code="INFERENCE_FAILED"} 1');
  await expect
    .poll(async () => JSON.parse(await send('GET', '/readyz')) as unknown, { timeout: 10_000 })
    .toMatchObject({ checks: { 'model tiny': { ok: true, state: 'warm' } } });
});
