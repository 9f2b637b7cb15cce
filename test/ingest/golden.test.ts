import { expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { GoldenCheck } from '../../src/ingest/golden.ts';
import type { Embedder } from '../../src/ingest/inference/embedder.ts';
import type { ModelVersion } from '../../src/store/catalogue.ts';
import type { Golden } from '../../src/store/golden.ts';

const CPU = { provider: 'cpu', device: 'Some CPU', runtime: 'runtime 1' };
const CARD = { provider: 'cuda', device: 'Some card', runtime: 'runtime 2' };
const V1: ModelVersion = {
  version: 'v1',
  dim: 2,
  dtype: 'float32',
  created_timestamp: micros(5),
  model: { name: 'tiny', fingerprint: 'f' },
};

/** Vectors of length 1 that are turned by an angle. */
function embedderOf(angle: number, asked: string[] = []): Embedder {
  return {
    fingerprint: 'f',
    dim: 2,
    embed: async (texts) => {
      asked.push(...texts);
      const vectors = texts.flatMap((text) => {
        const at = text.length + angle;
        return [Math.cos(at), Math.sin(at)];
      });
      return { vectors: Float32Array.from(vectors), failures: new Map() };
    },
    close: async () => {},
  };
}

function checkWith(stored: Map<string, Golden>, madeBy = CPU, leastCosine = 0.999) {
  const cosines: number[] = [];
  const check = new GoldenCheck({
    stored: (view, { version }) => stored.get(`${view}@${version}`),
    store: (view, { version }, golden) => void stored.set(`${view}@${version}`, golden),
    model: () => ({ madeBy, leastCosine }),
    clock: () => 1_700_000_000_000_000,
    onCosine: (_model, cosine) => cosines.push(cosine),
  });
  return { check, cosines };
}

test('a version without golden vectors has those of its model of now', async () => {
  const stored = new Map<string, Golden>();
  const { check, cosines } = checkWith(stored);
  const asked: string[] = [];
  const embedder = embedderOf(0, asked);
  await check.check('job', V1, embedder);
  expect(stored.get('job@v1')).toMatchObject({ version_created: 5, made_by: CPU, texts: asked });
  expect(check.stateOf('tiny')).toBeUndefined();
  // Once for each start of the model.
  const before = asked.length;
  await check.check('job', V1, embedder);
  expect([asked.length, cosines]).toEqual([before, []]);
});

test('a model that is as it was goes on, and says how near it is', async () => {
  const stored = new Map<string, Golden>();
  await checkWith(stored).check.check('job', V1, embedderOf(0));
  const { check, cosines } = checkWith(stored, CARD);
  await check.check('job', V1, embedderOf(0.01));
  expect(cosines[0]).toBeCloseTo(Math.cos(0.01), 6);
  expect(check.stateOf('tiny')).toEqual({ cosine: cosines[0] });
});

test('a model that has drifted is refused, with what it ran on then and now', async () => {
  const stored = new Map<string, Golden>();
  await checkWith(stored).check.check('job', V1, embedderOf(0));
  const { check } = checkWith(stored, CARD);
  const drifted = embedderOf(0.1);
  const message =
    /job@v1: the least cosine of the golden texts is 0\.995004, expected 0\.999 or more\. Then \(2023-.*\): runtime 1 on cpu \(Some CPU\); now: runtime 2 on cuda \(Some card\)/;
  for (let times = 0; times < 2; times++) {
    await expect(check.check('job', V1, drifted)).rejects.toMatchObject({
      code: 'MODEL_DRIFTED',
      message: expect.stringMatching(message),
    });
  }
  expect(check.stateOf('tiny')).toMatchObject({ drift: expect.stringMatching(message) });
  // The bound is a setting, and the manifest's.
  await checkWith(stored, CARD, 0.99).check.check('job', V1, embedderOf(0.1));
});

test('what a retired version says of its model is forgotten, also by another one of its name', async () => {
  const stored = new Map<string, Golden>();
  await checkWith(stored).check.check('job', V1, embedderOf(0));
  const { check } = checkWith(stored);
  const drifted = embedderOf(0.1);
  await expect(check.check('job', V1, drifted)).rejects.toMatchObject({ code: 'MODEL_DRIFTED' });
  expect(check.stateOf('tiny', (name) => name === 'job@v1')).toBeDefined();
  expect(check.stateOf('tiny', () => false)).toBeUndefined();
  stored.clear();
  await check.check('job', { ...V1, created_timestamp: micros(6) }, drifted);
  expect(check.stateOf('tiny')).toBeUndefined();
});

test('what keeps a model from running is not kept: the next text tries again', async () => {
  const { check } = checkWith(new Map());
  const [embedder, working] = [embedderOf(0), embedderOf(0)];
  let calls = 0;
  embedder.embed = async (...args) => {
    if (calls++ === 0) throw new Error('down');
    return working.embed(...args);
  };
  await expect(check.check('job', V1, embedder)).rejects.toThrow('down');
  await check.check('job', V1, embedder);
});
