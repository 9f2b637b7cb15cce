import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { FLOAT, FLOAT16 } from '../../../models/onnx-writer.ts';
import { addModel, openModel } from '../../../src/ingest/inference/models.ts';
import { startEmbedder, vectorsOf } from '../../support/embedder.ts';
import { tempDirectory } from '../../support/temp.ts';
import { positionVector, wordVector, writeTinyDecoder } from './tiny-decoder.ts';

/** What a text is to get whose last token is that word, at that position. */
function expected(word: string, position: number): number[] {
  return wordVector(word).map((value, i) => value + positionVector(position)[i]!);
}

test.each([
  ['float32', FLOAT],
  ['float16', FLOAT16],
] as const)('a decoder’s last token stands for the text, given as %s', async (_, output) => {
  const model = await addModel(tempDirectory(), await writeTinyDecoder({ output }), 'decoder');
  expect(model.manifest).toMatchObject({
    pooling: 'last',
    normalise: false,
    dim: 4,
    inputs: { ids: 'input_ids', mask: 'attention_mask', positions: 'position_ids' },
  });
  const embedder = await startEmbedder(model);
  onTestFinished(async () => embedder.close());
  // Together, so that the short ones are padded.
  const vectors = await vectorsOf(embedder, ['east', 'east north west', 'west north']);
  expect(vectors.map((vector) => [...vector])).toEqual([
    expected('east', 0),
    expected('west', 2),
    expected('north', 1),
  ]);
});

test('the file beside a graph that holds its weights is part of the model, and checked', async () => {
  const models = tempDirectory();
  const { folder, manifest, fingerprint } = await addModel(
    models,
    await writeTinyDecoder(),
    'decoder',
  );
  expect(Object.keys(manifest.sha256)).toContain('model.onnx_data');
  const path = join(folder, 'model.onnx_data');
  const weights = await readFile(path);
  weights[0]! ^= 1;
  await writeFile(path, weights);
  await expect(openModel(models, 'decoder')).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('model.onnx_data has SHA-256'),
  });
  expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
});
