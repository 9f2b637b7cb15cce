import { expect, test, vi } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { micros } from '../../src/ground/time.ts';
import { Pipeline, type TextInput } from '../../src/ingest/pipeline.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import type { ModelVersion } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import { FakeEmbedder } from '../support/fake-embedder.ts';
import { testStore } from '../support/store.ts';

const PROMPT = { template: '{{title}} in {{place}}', fields: ['title', 'place'] };

async function setUp(prompt?: typeof PROMPT): Promise<{
  store: Store;
  embedder: FakeEmbedder;
  pipeline: Pipeline;
  version: ModelVersion;
}> {
  const store = testStore();
  const embedder = new FakeEmbedder();
  const pipeline = new Pipeline({
    embedder: async () => embedder,
    copyPooled: (view, name, hash, out) => store.version(view, name).copyPooled(hash, out),
    fields: (view, name) => store.version(view, name).fields,
    isLatestOnly: () => false,
    textCharsMax: 100,
  });
  const { binding, dim } = await pipeline.bind({ name: 'fake', ...(prompt && { prompt }) });
  const version: ModelVersion = {
    version: 'v1',
    dim,
    dtype: 'float32',
    created_timestamp: micros(0),
    model: binding,
  };
  return { store, embedder, pipeline, version };
}

async function add(
  { store, pipeline, version }: Awaited<ReturnType<typeof setUp>>,
  inputs: TextInput[],
  event = 1,
  signal?: AbortSignal,
): Promise<(number | string)[]> {
  const batch = new RevisionBatch(8);
  const added = await pipeline.addTexts('job', version, batch, inputs, {
    lane: 'rest',
    signal,
  });
  added.forEach((payload, at) => {
    if (typeof payload === 'number') batch.addRow(`job-${at}`, event, event, payload);
  });
  await store.commit('job', 'v1', { rows: batch });
  return added.map((each) => (each instanceof TidemarkError ? each.code : each));
}

test('equal inputs of one batch are embedded once, and once they are stored never again', async () => {
  const all = await setUp();
  const inputs = [{ text: 'nurse' }, { text: ' nurse\r\n' }, { text: 'cook' }];
  expect(await add(all, inputs)).toEqual([0, 0, 1]);
  expect(await add(all, [{ text: 'cook' }, { text: 'baker' }], 2)).toEqual([0, 1]);
  expect(all.embedder.asked).toEqual(['nurse', 'cook', 'baker']);
  expect(all.pipeline.counts).toEqual({ embedded: 3, pooled: 1, repeated: 1, rejected: 0 });
  expect(all.store.version('job', 'v1').counters()).toMatchObject({
    revisions: 5,
    nextVectorId: 3,
  });
});

test('an input that is being embedded for one batch is not embedded for another', async () => {
  const all = await setUp();
  await Promise.all([
    add(all, [{ text: 'nurse' }, { text: 'cook' }]),
    add(all, [{ text: 'cook' }, { text: 'baker' }], 2),
  ]);
  expect(all.embedder.asked.toSorted()).toEqual(['baker', 'cook', 'nurse']);
  expect(all.store.version('job', 'v1').counters().nextVectorId).toBe(3);
});

test('a failure to embed reaches everyone who waits, and the next try is a new one', async () => {
  const all = await setUp();
  all.embedder.failure = new TidemarkError('OVERLOADED', 'busy');
  const tries = await Promise.allSettled([
    add(all, [{ text: 'cook' }]),
    add(all, [{ text: 'cook' }]),
  ]);
  expect(tries.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  all.embedder.failure = undefined;
  expect(await add(all, [{ text: 'cook' }])).toEqual([0]);
});

test('a text that cannot be embedded is rejected alone, in every batch that has it', async () => {
  const all = await setUp();
  all.embedder.failures.set('cook', new TidemarkError('BAD_VECTOR', 'all zeros'));
  const results = await Promise.all([
    add(all, [{ text: 'nurse' }, { text: 'cook' }, { text: 'cook' }]),
    add(all, [{ text: 'cook' }, { text: 'baker' }], 2),
  ]);
  expect(results).toEqual([
    [0, 'BAD_VECTOR', 'BAD_VECTOR'],
    ['BAD_VECTOR', 0],
  ]);
  expect(all.pipeline.counts.rejected).toBe(3);
  all.embedder.failures.clear();
  expect(await add(all, [{ text: 'cook' }], 3)).toEqual([0]);
});

test('a text that the model died of is not given to it again', async () => {
  const all = await setUp();
  all.embedder.failures.set('poison', new TidemarkError('INFERENCE_FAILED', 'died'));
  expect(await add(all, [{ text: 'poison' }])).toEqual(['INFERENCE_FAILED']);
  expect(await add(all, [{ text: 'poison' }, { text: 'nurse' }])).toEqual(['INFERENCE_FAILED', 0]);
  expect(all.embedder.asked).toEqual(['poison', 'nurse']);
});

test('a caller that leaves takes nothing from another that waits for an equal text', async () => {
  const all = await setUp();
  all.embedder.held = Promise.withResolvers();
  const leaving = new AbortController();
  const gone = new TidemarkError('BAD_REQUEST', 'gone');
  const first = add(all, [{ text: 'nurse' }, { text: 'cook' }], 1, leaving.signal);
  const outcome = Promise.allSettled([first]);
  await vi.waitUntil(() => all.embedder.asked.length === 2);
  const second = add(all, [{ text: 'cook' }], 2);
  await new Promise(setImmediate);
  leaving.abort(gone);
  expect(await outcome).toEqual([{ status: 'rejected', reason: gone }]);
  all.embedder.held.resolve();
  expect(await second).toEqual([0]);
  expect(all.embedder.asked).toEqual(['nurse', 'cook']);
});

test('what the last caller leaves is given up, and asked anew by the next', async () => {
  const all = await setUp();
  all.embedder.held = Promise.withResolvers();
  const leaving = new AbortController();
  const first = add(all, [{ text: 'cook' }], 1, leaving.signal);
  const second = add(all, [{ text: 'cook' }], 1, leaving.signal);
  const both = Promise.allSettled([first, second]);
  await vi.waitUntil(() => all.embedder.asked.length === 1);
  await new Promise(setImmediate);
  leaving.abort(new TidemarkError('BAD_REQUEST', 'gone'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  all.embedder.held = undefined;
  expect(await add(all, [{ text: 'cook' }], 2)).toEqual([0]);
  expect(all.embedder.asked).toEqual(['cook', 'cook']);
});

test('fields become a text by the prompt, and other fields change nothing', async () => {
  const all = await setUp(PROMPT);
  await add(all, [
    { fields: { title: 'Nurse', place: ['Bern', 'Biel'], active: true } },
    { fields: { title: 'Nurse', place: ['Bern', 'Biel'], active: false } },
  ]);
  expect(all.embedder.asked).toEqual(['Nurse in Bern, Biel']);
});

test('an input that cannot be embedded is rejected alone, with its reason', async () => {
  const all = await setUp(PROMPT);
  const results = await add(all, [
    { fields: { title: { nested: true } } },
    { fields: { other: 1 } },
    { text: ' ' },
    { text: 'x'.repeat(101) },
    { text: 'fine' },
  ]);
  expect(results).toEqual(['BAD_INPUT', 'EMPTY_TEXT', 'EMPTY_TEXT', 'BAD_INPUT', 0]);
  expect(all.pipeline.counts.rejected).toBe(4);
});

test('a version without a prompt takes texts and no fields', async () => {
  const all = await setUp();
  expect(await add(all, [{ fields: { title: 'Nurse' } }])).toEqual(['BAD_INPUT']);
});

test('a model that is not the one that made the vectors is refused (A14)', async () => {
  const all = await setUp(PROMPT);
  all.embedder.fingerprint = 'model-2';
  await expect(add(all, [{ text: 'nurse' }])).rejects.toThrow(
    'is not the one that made the vectors',
  );
});

test('another prompt is another fingerprint', async () => {
  const { pipeline } = await setUp();
  const bindings = await Promise.all([
    pipeline.bind({ name: 'fake' }),
    pipeline.bind({ name: 'fake', prompt: PROMPT }),
    pipeline.bind({ name: 'fake', prompt: { ...PROMPT, template: '{{title}} at {{place}}' } }),
    pipeline.bind({ name: 'fake', prompt: { ...PROMPT, chars_max: { title: 10 } } }),
  ]);
  expect(new Set(bindings.map(({ binding }) => binding.fingerprint)).size).toBe(4);
});

test('a view without a model takes no texts', async () => {
  const all = await setUp();
  delete all.version.model;
  await expect(add(all, [{ text: 'nurse' }])).rejects.toThrow('without a model');
});

const record = (offset: number) => ({ entityId: `job-${offset}`, event: 1, known: 1, offset });

test('records of a source keep their order and their offsets, deletes among them (A12)', async () => {
  const { pipeline, version } = await setUp(PROMPT);
  const { rows, rejected } = await pipeline.preparer(
    'job',
    version,
  )([
    { ...record(4), kind: 'text', fields: { title: 'Nurse' } },
    { ...record(5), kind: 'delete' },
    { ...record(6), kind: 'text', fields: {} },
    { ...record(7), kind: 'text', fields: { title: 'Nurse' } },
  ]);
  expect(rows.offsets).toEqual([4, 5, 7]);
  expect(rows.payloads).toEqual([0, -1, 0]);
  expect(rejected).toMatchObject([{ index: 2, code: 'EMPTY_TEXT' }]);
});

test('an entity waits from the moment its text is taken in until the commit is over', async () => {
  const { pipeline, embedder, version } = await setUp();
  embedder.held = Promise.withResolvers();
  const records = ['a', 'b', 'c'].map((entityId) => ({
    entityId,
    event: 1,
    known: 1,
    input: entityId === 'c' ? null : { text: entityId },
  }));
  const options = { lane: 'rest' } as const;
  const adding = pipeline.addRecords('job', version, new RevisionBatch(8), records, options);
  const waiting = (): boolean[] =>
    ['a', 'b', 'c'].map((id) => pipeline.pending.of('job', 'v1')?.has(id) ?? false);
  // A delete has nothing to wait for.
  expect(waiting()).toEqual([true, true, false]);
  embedder.held.resolve();
  const { release } = await adding;
  expect(waiting()).toEqual([true, true, false]);
  release();
  expect(waiting()).toEqual([false, false, false]);
});

test('an entity whose text could not be embedded does not wait for ever', async () => {
  const { pipeline, embedder, version } = await setUp();
  embedder.failure = new TidemarkError('MODEL_UNAVAILABLE', 'down');
  const records = [{ entityId: 'a', event: 1, known: 1, input: { text: 'a' } }];
  const options = { lane: 'rest' } as const;
  const adding = pipeline.addRecords('job', version, new RevisionBatch(8), records, options);
  await expect(adding).rejects.toThrow('down');
  expect(pipeline.pending.of('job', 'v1')).toBeUndefined();
});

test('what the golden texts say is asked before anything is embedded', async () => {
  const { store, embedder, version } = await setUp();
  const pipeline = new Pipeline({
    embedder: async () => embedder,
    copyPooled: () => false,
    fields: (view, name) => store.version(view, name).fields,
    isLatestOnly: () => false,
    checkGolden: async () => {
      throw new TidemarkError('MODEL_DRIFTED', 'another');
    },
    textCharsMax: 100,
  });
  await expect(
    pipeline.addTexts('job', version, new RevisionBatch(8), [{ text: 'a' }], { lane: 'rest' }),
  ).rejects.toMatchObject({ code: 'MODEL_DRIFTED' });
  expect(embedder.asked).toEqual([]);
});
