import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';

import { Embedders } from '../../src/ingest/embedders.ts';
import { EmbedMetrics } from '../../src/ingest/inference/metrics.ts';
import { addModel } from '../../src/ingest/inference/models.ts';
import { type RemoteModel, remoteModelSchema } from '../../src/ingest/inference/remote-config.ts';
import { refuse, startEmbeddingsStub, stubVector } from '../support/embeddings-stub.ts';
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

function embeddersOf(models: string, remotes: readonly RemoteModel[] = []): Embedders {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const metrics = new EmbedMetrics(new Registry());
  const embedders = new Embedders(models, SETTINGS, metrics, silent, remotes);
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

test('names that somebody only asks for and that there are not are not remembered', async () => {
  const embedders = embeddersOf(tempDirectory());
  for (const name of ['tiny', 'small', 'tiny']) {
    await expect(embedders.find(name)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  }
  expect(embedders.states()).toEqual([]);
});

test('the dims that a model can be cut to are those of its manifest', async () => {
  const models = tempDirectory();
  const { folder } = await addModel(models, await writeTinyModel(), 'tiny');
  const file = join(folder, 'tidemark-model.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...manifest, matryoshka: [1] }));
  const embedders = embeddersOf(models);
  expect(await embedders.find('tiny')).toMatchObject({ matryoshka: [1], embedder: { dim: 2 } });
});

test('how many tokens ran is counted for each caller', async () => {
  const models = tempDirectory();
  await addModel(models, await writeTinyModel(), 'tiny');
  const { embedder } = await embeddersOf(models).find('tiny');
  const asked = [['east north', 'west'], ['east']].map((texts) =>
    embedder.embed(texts, { lane: 'rest' }),
  );
  expect((await Promise.all(asked)).map(({ tokens }) => tokens)).toEqual([3, 1]);
});

function remoteAt(url: string, name = 'far'): RemoteModel {
  return remoteModelSchema.parse({ name, url, model: 'theirs', dim: 2 });
}

test('a remote model is found by its name among the others, and its circuit is shown', async () => {
  const stub = await startEmbeddingsStub();
  const embedders = embeddersOf(tempDirectory(), [remoteAt(stub.url)]);
  const { vectors } = await (await embedders.get('far')).embed(['a'], { lane: 'rest' });
  expect([...vectors]).toEqual(stubVector('a'));
  expect(embedders.states()).toEqual([{ name: 'far', state: 'warm', circuit: 'closed' }]);
});

test('a name that a remote model shares with a model folder is refused', async () => {
  const stub = await startEmbeddingsStub();
  const embedders = embeddersOf(tempDirectory(), [remoteAt(stub.url, 'hashing')]);
  await expect(embedders.get('hashing', true)).rejects.toThrow(/rename one of them/);
});

test('a model that versions wait for is not tried sooner for somebody who only asks', async () => {
  const stub = await startEmbeddingsStub();
  stub.manner = refuse(404);
  const embedders = embeddersOf(tempDirectory(), [remoteAt(stub.url)]);
  await expect(embedders.get('far')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  const { length } = stub.asked;
  await expect(embedders.find('far')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  expect(stub.asked).toHaveLength(length);
});
