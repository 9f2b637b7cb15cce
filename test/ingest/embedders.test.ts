import { cp } from 'node:fs/promises';
import { join } from 'node:path';

import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';

import { Embedders } from '../../src/ingest/embedders.ts';
import { EmbedMetrics } from '../../src/ingest/inference/metrics.ts';
import { addModel } from '../../src/ingest/inference/models.ts';
import { tempDirectory } from '../support/temp.ts';
import { writeTinyModel } from './inference/tiny-model.ts';

const SETTINGS = {
  provider: 'cpu',
  workers: 1,
  threads: 1,
  batch_texts: 16,
  batch_tokens: 2_048,
  queue_tokens: 10_000,
} as const;

function embeddersOf(models: string): Embedders {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const embedders = new Embedders(models, SETTINGS, new EmbedMetrics(new Registry()), silent);
  onTestFinished(async () => embedders.close());
  return embedders;
}

test('a model that there is not is refused for a new version, and for others it may come back', async () => {
  const embedders = embeddersOf(tempDirectory());
  await expect(embedders.get('tiny', true)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  await expect(embedders.get('tiny')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  expect(embedders.states()).toMatchObject([{ name: 'tiny', state: 'failed' }]);
});

test('a model that versions need is tried again by itself until it can be used', async () => {
  const [models, elsewhere] = [tempDirectory(), tempDirectory()];
  await addModel(elsewhere, await writeTinyModel(), 'tiny');
  const embedders = embeddersOf(models);
  await expect(embedders.get('tiny')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  await cp(join(elsewhere, 'tiny'), join(models, 'tiny'), { recursive: true });
  await expect
    .poll(() => embedders.states(), { timeout: 20_000 })
    .toEqual([{ name: 'tiny', state: 'warm' }]);
  const { vectors } = await (await embedders.get('tiny')).embed(['east'], { lane: 'rest' });
  expect([...vectors]).toEqual([1, 0]);
});

test('a model that is put there in the meantime serves a new version at once', async () => {
  const models = tempDirectory();
  const embedders = embeddersOf(models);
  await expect(embedders.get('tiny')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  await addModel(models, await writeTinyModel(), 'tiny');
  expect(await embedders.get('tiny', true)).toMatchObject({ dim: 2 });
});
