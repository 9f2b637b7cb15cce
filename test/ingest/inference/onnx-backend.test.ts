import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

import { describe, expect, onTestFinished, test, vi } from 'vitest';

import type { Embedder } from '../../../src/ingest/inference/embedder.ts';
import type { Manifest } from '../../../src/ingest/inference/manifest.ts';
import type { Model } from '../../../src/ingest/inference/model.ts';
import { addModel, openModel } from '../../../src/ingest/inference/models.ts';
import {
  OnnxBackend,
  type OnnxSettings,
  START_THREAD,
} from '../../../src/ingest/inference/onnx-backend.ts';
import { startEmbedder, vectorsOf } from '../../support/embedder.ts';
import { temporaryFolder, type TinyModel, writeTinyModel } from './tiny-model.ts';

async function tinyModel(settings?: TinyModel): Promise<Model> {
  return addModel(await temporaryFolder(), await writeTinyModel(settings), 'tiny');
}

async function started(model: Model, settings?: OnnxSettings): Promise<Embedder> {
  const embedder = await startEmbedder(model, settings);
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
    expect(await rows(embedder, ['east north', 'west', 'east east north north'])).toEqual([
      [near(half), near(half)],
      [-1, 0],
      [near(half), near(half)],
    ]);
  });

  test('is its first token, as long as it is, when the model says so', async () => {
    const settings = { modules: ['Transformer', 'Pooling'], pooling: { pooling_mode: 'cls' } };
    const embedder = await started(await tinyModel(settings));
    expect(await rows(embedder, ['north east', 'east'])).toEqual([
      [0, 1],
      [1, 0],
    ]);
  });

  test('is made of as many tokens as the manifest says, whatever the tokenizer file says', async () => {
    const settings = { modules: ['Transformer', 'Pooling'] };
    const embedder = await started(await tinyModel(settings));
    const [vector] = await rows(embedder, ['east east north north west west west']);
    expect(vector).toEqual([0.5, 0.5]);
  });

  test.each([
    ['not finite', 'broken', 'NaN'],
    ['all zeros', 'east west', '0'],
  ])('that is %s is a failure of that text alone', async (_what, text, length) => {
    const embedder = await started(await tinyModel());
    const { vectors, failures } = await embedder.embed(['east', 'north', text, 'west'], {
      lane: 'nearline',
    });
    expect([...failures.keys()]).toEqual([2]);
    expect(failures.get(2)).toMatchObject({
      code: 'BAD_VECTOR',
      message: expect.stringContaining(`a vector of length ${length}`),
    });
    expect([...vectors]).toEqual([1, 0, 0, 1, 0, 0, -1, 0]);
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
    await expect(OnnxBackend.start(model)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(message),
    });
  });
});

/** Threads that can be got hold of, and die when they are told to. */
function mortal(): { settings: OnnxSettings; threads: Record<'tokenizer' | 'runner', Worker[]> } {
  const threads: Record<'tokenizer' | 'runner', Worker[]> = { tokenizer: [], runner: [] };
  const keep = (kind: 'tokenizer' | 'runner', worker: Worker): Worker => {
    threads[kind].push(worker);
    return worker;
  };
  return {
    threads,
    settings: {
      random: () => 0,
      startThread: {
        tokenizer: (settings) => keep('tokenizer', START_THREAD.tokenizer(settings)),
        runner: (settings) => keep('runner', START_THREAD.runner(settings)),
      },
    },
  };
}

/** No backend asks this: it stands for a defect that nobody foresaw, and ends the thread. */
function kill(worker: Worker | undefined): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  worker?.postMessage({ id: 0, ask: 7 });
}

const JOBS = Array.from({ length: 200 }, (_, at) => `baker of street ${at}`);

describe('a worker that dies', () => {
  test.each(['runner', 'tokenizer'] as const)(
    'is replaced, and what it was asked is answered: %s',
    async (kind) => {
      const { settings, threads } = mortal();
      let restarts = 0;
      const embedder = await started(await openModel('no-such-folder', 'hashing'), {
        ...settings,
        onRestart: () => restarts++,
      });
      const before = await vectorsOf(embedder, JOBS);
      kill(threads[kind][0]);
      const asked = vectorsOf(embedder, JOBS);
      expectAlike(await asked, before);
      expect(restarts).toBe(1);
      expect(threads[kind]).toHaveLength(2);
      const ended = new Promise((resolve) => threads[kind][1]!.once('exit', resolve));
      kill(threads[kind][1]);
      await ended;
      expectAlike(await vectorsOf(embedder, JOBS), before);
    },
  );

  test('again and again of one text is led to it, and its neighbours have their vectors', async () => {
    const { settings, threads } = mortal();
    const embedder = await started(await tinyModel({ graphWords: 5 }), settings);
    const texts = ['east', 'north', 'broken', 'west'];
    const { vectors, failures } = await embedder.embed(texts, { lane: 'nearline' });
    expect([...failures].map(([at, { code }]) => [at, code])).toEqual([[2, 'INFERENCE_FAILED']]);
    expect([...vectors]).toEqual([1, 0, 0, 1, 0, 0, -1, 0]);
    expect(threads.runner.length).toBeGreaterThan(3);
  });

  test('and does not start again fails those who ask, until it does', async () => {
    const { settings } = mortal();
    let isBroken = false;
    const workers: Worker[] = [];
    const embedder = await started(await openModel('no-such-folder', 'hashing'), {
      ...settings,
      startThread: {
        ...settings.startThread!,
        runner: (given) => {
          const worker = isBroken
            ? new Worker('process.exit(3)', { eval: true })
            : START_THREAD.runner(given);
          workers.push(worker);
          return worker;
        },
      },
    });
    isBroken = true;
    kill(workers[0]);
    await expect(vectorsOf(embedder, ['baker'])).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('exit code 3'),
    });
    isBroken = false;
    await vi.waitUntil(
      async () =>
        vectorsOf(embedder, ['baker']).then(
          () => true,
          () => false,
        ),
      { timeout: 10_000 },
    );
  });

  test('while it starts fails the start', async () => {
    const start = OnnxBackend.start(await openModel('no-such-folder', 'hashing'), {
      startThread: {
        ...START_THREAD,
        runner: () => new Worker('process.exit(3)', { eval: true }),
      },
    });
    await expect(start).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('exit code 3'),
    });
  });
});

test('two workers share what waits', async () => {
  const { settings, threads } = mortal();
  const model = await openModel('no-such-folder', 'hashing');
  const one = await started(model);
  const two = await started(model, { ...settings, workers: 2 });
  const both = await Promise.all([vectorsOf(one, JOBS), vectorsOf(two, JOBS)]);
  expectAlike(both[1], both[0]);
  expect(threads.runner).toHaveLength(2);
});

test('a process that exits while a model runs exits with its own code', async () => {
  const inference = pathToFileURL(join(import.meta.dirname, '../../../src/ingest/inference'));
  const script = `
    const { openModel } = await import('${inference.href}/models.ts');
    const { OnnxBackend } = await import('${inference.href}/onnx-backend.ts');
    const backend = await OnnxBackend.start(await openModel('no-such-folder', 'hashing'));
    const texts = await backend.encode(Array.from({ length: 500 }, () => 'baker in the old town '.repeat(50)));
    void backend.encode(Array.from({ length: 500 }, () => 'baker in the old town '.repeat(50)));
    const first = backend.runners[0].run(texts.slice(0, 1));
    void backend.runners[0].run(texts);
    // The worker answers in order: when the first is done, it is busy with the second.
    await first;
    process.exit(7);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script]);
  const [code, signal] = await once(child, 'exit');
  expect({ code, signal }).toEqual({ code: 7, signal: null });
});

test('an embedder that is closed finishes what it was asked and takes no more', async () => {
  const embedder = await startEmbedder(await openModel('no-such-folder', 'hashing'));
  const asked = vectorsOf(embedder, ['baker']);
  await Promise.all([embedder.close(), embedder.close()]);
  expect(await asked).toHaveLength(1);
  await expect(vectorsOf(embedder, ['baker'])).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
});

/** Which texts share a batch is chance, and with it the last bits of a sum. */
function expectAlike(some: readonly Float32Array[], others: readonly Float32Array[]): void {
  expect(some).toHaveLength(others.length);
  for (const [at, vector] of some.entries()) {
    const cosine = vector.reduce((sum, value, i) => sum + value * others[at]![i]!, 0);
    expect(cosine).toBeCloseTo(1, 5);
  }
}

async function rows(embedder: Embedder, texts: readonly string[]): Promise<number[][]> {
  return (await vectorsOf(embedder, texts)).map((vector) => [...vector]);
}

function near(value: number): number {
  return expect.closeTo(value, 6) as number;
}
