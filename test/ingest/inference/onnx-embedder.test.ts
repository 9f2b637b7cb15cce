import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

import { describe, expect, onTestFinished, test } from 'vitest';

import type { Manifest } from '../../../src/ingest/inference/manifest.ts';
import type { Model } from '../../../src/ingest/inference/model.ts';
import { addModel, openModel } from '../../../src/ingest/inference/models.ts';
import {
  OnnxEmbedder,
  type OnnxSettings,
  startOnnxWorker,
} from '../../../src/ingest/inference/onnx-embedder.ts';
import { temporaryFolder, type TinyModel, writeTinyModel } from './tiny-model.ts';

async function tinyModel(settings?: TinyModel): Promise<Model> {
  return addModel(await temporaryFolder(), await writeTinyModel(settings), 'tiny');
}

async function started(model: Model, settings?: OnnxSettings): Promise<OnnxEmbedder> {
  const embedder = await OnnxEmbedder.start(model, settings);
  onTestFinished(() => embedder.close());
  return embedder;
}

/** The model as it would be if its manifest said something else. */
function claiming(model: Model, change: Partial<Manifest>): Model {
  return { ...model, manifest: { ...model.manifest, ...change } };
}

describe('the vector of a text', () => {
  test('is the mean of its tokens, of length 1, when the model says so', async () => {
    const embedder = await started(await tinyModel());
    const half = Math.SQRT1_2;
    expect(rows(await embedder.embed(['east north', 'west', 'east east north north']))).toEqual([
      [near(half), near(half)],
      [-1, 0],
      [near(half), near(half)],
    ]);
  });

  test('is its first token, as long as it is, when the model says so', async () => {
    const settings = { modules: ['Transformer', 'Pooling'], pooling: { pooling_mode: 'cls' } };
    const embedder = await started(await tinyModel(settings));
    expect(rows(await embedder.embed(['north east', 'east']))).toEqual([
      [0, 1],
      [1, 0],
    ]);
  });

  test('is made of as many tokens as the manifest says, whatever the tokenizer file says', async () => {
    const settings = { modules: ['Transformer', 'Pooling'] };
    const embedder = await started(await tinyModel(settings));
    const [vector] = rows(await embedder.embed(['east east north north west west west']));
    expect(vector).toEqual([0.5, 0.5]);
  });

  test('that is not finite is an error that names the text', async () => {
    const embedder = await started(await tinyModel());
    await expect(embedder.embed(['east', 'north', 'broken'])).rejects.toMatchObject({
      code: 'BAD_VECTOR',
      message: expect.stringContaining('text 2 a vector of length NaN'),
    });
    expect(rows(await embedder.embed(['east']))).toEqual([[1, 0]]);
  });

  test('that is all zeros is an error that names the text', async () => {
    const embedder = await started(await tinyModel());
    await expect(embedder.embed(['east west'])).rejects.toMatchObject({
      code: 'BAD_VECTOR',
      message: expect.stringContaining('text 0 a vector of length 0'),
    });
  });
});

describe('a model that does not do what its manifest says is refused at start', () => {
  test.each<[string, Partial<Manifest>, string]>([
    ['dim', { dim: 3 }, 'shape [1, 1, 2], expected [1, 1, 3]'],
    ['pooling', { pooling: 'none' }, 'shape [1, 1, 2], expected [1, 2]'],
    ['inputs', { inputs: { ids: 'ids' } }, 'the graph takes input_ids, attention_mask'],
    ['output', { output: 'vector' }, 'the graph gives last_hidden_state'],
    [
      'tokenizer',
      { tokenizer: { kind: 'huggingface', file: 'model.onnx', pad_id: 0 } },
      'is no tokenizer',
    ],
    ['graph', { graph: 'tokenizer.json' }, 'ONNX Runtime does not take'],
  ])('%s', async (_what, change, message) => {
    const model = claiming(await tinyModel(), change);
    await expect(OnnxEmbedder.start(model)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(message),
    });
  });
});

describe('a worker that dies', () => {
  test('rejects what it was asked, and the next call has another', async () => {
    const workers: Worker[] = [];
    const embedder = await started(await openModel('no-such-folder', 'hashing'), {
      startWorker: (settings) => {
        const worker = startOnnxWorker(settings);
        workers.push(worker);
        return worker;
      },
    });
    const before = await embedder.embed(['baker']);
    // No embedder asks this: it stands for a defect that nobody foresaw.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    workers[0]?.postMessage({ id: 0, texts: null });
    const asked = [embedder.embed(['baker']), embedder.embed(['driver'])];
    for (const outcome of await Promise.allSettled(asked)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: 'OVERLOADED', message: expect.stringContaining('hashing died') },
      });
    }
    expect(await embedder.embed(['baker'])).toEqual(before);
    expect(workers).toHaveLength(2);
  });

  test('while it starts fails the start', async () => {
    const start = OnnxEmbedder.start(await openModel('no-such-folder', 'hashing'), {
      startWorker: () => new Worker('process.exit(3)', { eval: true }),
    });
    await expect(start).rejects.toMatchObject({
      code: 'OVERLOADED',
      message: expect.stringContaining('exit code 3'),
    });
  });
});

test('a process that exits while a model runs exits with its own code', async () => {
  const inference = pathToFileURL(join(import.meta.dirname, '../../../src/ingest/inference'));
  const script = `
    const { openModel } = await import('${inference.href}/models.ts');
    const { OnnxEmbedder } = await import('${inference.href}/onnx-embedder.ts');
    const embedder = await OnnxEmbedder.start(await openModel('no-such-folder', 'hashing'));
    const first = embedder.embed(['baker']);
    void embedder.embed(Array.from({ length: 1000 }, () => 'baker in the old town '.repeat(50)));
    // The worker answers in order: when the first is done, it is busy with the second.
    await first;
    process.exit(7);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script]);
  const [code, signal] = await once(child, 'exit');
  expect({ code, signal }).toEqual({ code: 7, signal: null });
});

test('an embedder that is closed finishes what it was asked and takes no more', async () => {
  const embedder = await OnnxEmbedder.start(await openModel('no-such-folder', 'hashing'));
  const asked = embedder.embed(['baker']);
  await Promise.all([embedder.close(), embedder.close()]);
  expect(await asked).toHaveLength(embedder.dim);
  await expect(embedder.embed(['baker'])).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
});

function rows(vectors: Float32Array): number[][] {
  return Array.from({ length: vectors.length / 2 }, (_, row) => [
    vectors[row * 2] ?? Number.NaN,
    vectors[row * 2 + 1] ?? Number.NaN,
  ]);
}

function near(value: number): number {
  return expect.closeTo(value, 6) as number;
}
