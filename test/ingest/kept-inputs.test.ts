import { expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { hashInput } from '../../src/ingest/model-input.ts';
import { Pipeline, type TextInput } from '../../src/ingest/pipeline.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import type { ModelVersion } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import { FakeEmbedder } from '../support/fake-embedder.ts';
import { testStore, viewOf } from '../support/store.ts';
import { textsIn } from '../support/texts.ts';

const prompt = { template: '{{title}} in {{place}}', fields: ['title', 'place'] };

interface Keeping {
  store: Store;
  pipeline: Pipeline;
  version: ModelVersion;
  embedder: FakeEmbedder;
}

async function setUp(): Promise<Keeping> {
  const embedder = new FakeEmbedder();
  const pipeline = new Pipeline({
    embedder: async () => embedder,
    copyPooled: (view, name, hash, out) => store.version(view, name).copyPooled(hash, out),
    fields: (view, name) => store.version(view, name).fields,
    isLatestOnly: () => false,
    textCharsMax: 100,
  });
  const { binding: model, dim } = await pipeline.bind({ name: 'fake', prompt, keep_inputs: true });
  const version: ModelVersion = {
    version: 'v1',
    dim,
    dtype: 'float32',
    created_timestamp: micros(0),
    model,
  };
  const store = testStore({ ...viewOf('job'), versions: { v1: version } });
  return { store, pipeline, version, embedder };
}

async function prepare({ pipeline, version }: Keeping, input: TextInput): Promise<RevisionBatch> {
  const batch = new RevisionBatch(8);
  const [payload] = await pipeline.addTexts('job', version, batch, [input], { lane: 'rest' });
  batch.addRow('a', 1, 1, payload as number);
  return batch;
}

test('what is kept is the text as the model read it, rendered and normalised', async () => {
  const all = await setUp();
  const { store, embedder } = all;
  const fields = { title: 'Nurse\r\n(nights)', place: ' Zu\u0308rich ' };
  await store.commit('job', 'v1', { rows: await prepare(all, { fields }) });
  expect(embedder.asked).toEqual(['Nurse\n(nights) in Zürich']);
  expect(textsIn(store.version('job', 'v1'), 'a')).toEqual(embedder.asked);
});

test('a text is kept also where its vector was in the pool, and the pool forgot it before the commit', async () => {
  const all = await setUp();
  const { store, embedder } = all;
  await store.commit('job', 'v1', { rows: await prepare(all, { text: 'cook' }) });
  const again = await prepare(all, { text: 'cook' });
  expect(embedder.asked).toEqual(['cook']);
  const { environment, inputs } = store.version('job', 'v1');
  await environment.commit(() => inputs.remove(hashInput('cook')));
  again.addRow('b', 1, 1, 0);
  await store.commit('job', 'v1', { rows: again });
  expect(textsIn(store.version('job', 'v1'), 'b')).toEqual(['cook']);
});

test('that inputs are kept is no part of what makes their vectors', async () => {
  const { pipeline, version } = await setUp();
  const { binding } = await pipeline.bind({ name: 'fake', prompt });
  expect(binding).not.toHaveProperty('keep_inputs');
  expect({ ...binding, keep_inputs: true }).toEqual(version.model);
});
