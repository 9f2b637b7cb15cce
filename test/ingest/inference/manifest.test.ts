import { expect, test } from 'vitest';

import {
  fingerprintOf,
  formatManifest,
  type Manifest,
  parseManifest,
} from '../../../src/ingest/inference/manifest.ts';

const manifest: Manifest = {
  format: 1,
  name: 'tiny',
  description: 'two numbers',
  licence: 'Apache-2.0',
  source: 'a test',
  graph: 'model.onnx',
  tokenizer: { kind: 'huggingface', file: 'tokenizer.json', pad_id: 0 },
  max_tokens: 256,
  pooling: 'mean',
  normalise: true,
  dim: 2,
  inputs: { ids: 'input_ids', mask: 'attention_mask' },
  output: 'last_hidden_state',
  sha256: { 'model.onnx': 'a'.repeat(64), 'tokenizer.json': 'b'.repeat(64) },
};

test('a manifest comes back from its file', () => {
  expect(parseManifest(formatManifest(manifest))).toEqual({ manifest });
});

test.each<[string, object, string]>([
  ['a file outside the folder', { graph: '../model.onnx' }, 'graph: expected a plain file name'],
  ['an unknown pooling', { pooling: 'max' }, 'pooling'],
  ['a key that nobody reads', { max_length: 3 }, 'max_length'],
  ['a file without a checksum', { graph: 'other.onnx' }, 'expected one for other.onnx'],
  ['a checksum that is none', { sha256: { 'model.onnx': 'a' } }, '64 lower-case hex digits'],
  ['another format', { format: 2 }, 'format'],
  ['a dim beyond what a version may have', { dim: 8_193 }, 'dim'],
  ['a dim to cut to that is no less', { matryoshka: [manifest.dim] }, 'matryoshka: expected dims'],
])('a manifest with %s is refused and the problem named', (_what, change, problem) => {
  const parsed = parseManifest(JSON.stringify({ ...manifest, ...change }));
  expect(parsed).toEqual({ problem: expect.stringContaining(problem) });
});

test('a manifest that is not JSON is refused', () => {
  expect(parseManifest('{')).toEqual({ problem: expect.stringContaining('not JSON') });
});

test('a hashing tokenizer wants an input for its weights', () => {
  const hashing = {
    ...manifest,
    tokenizer: {
      kind: 'hashing',
      scheme: 'words-ngrams-fnv1a32-256ths',
      buckets: 100,
      ngram_min: 3,
      ngram_max: 2,
      word_weight: 1,
      ngram_weight: 1,
    },
  };
  expect(parseManifest(JSON.stringify(hashing))).toEqual({
    problem: expect.stringMatching(/power of two/),
  });
  hashing.tokenizer.buckets = 128;
  expect(parseManifest(JSON.stringify(hashing))).toEqual({
    problem: expect.stringMatching(/inputs\.weights.*ngram_max: expected ngram_min or more/),
  });
});

test.each<[string, Partial<Manifest>]>([
  ['max_tokens', { max_tokens: 128 }],
  ['pooling', { pooling: 'cls' }],
  ['normalise', { normalise: false }],
  ['dim', { dim: 3 }],
  ['output', { output: 'other' }],
  ['padding', { tokenizer: { kind: 'huggingface', file: 'tokenizer.json', pad_id: 1 } }],
  ['graph', { sha256: { ...manifest.sha256, 'model.onnx': 'c'.repeat(64) } }],
  ['tokenizer', { sha256: { ...manifest.sha256, 'tokenizer.json': 'c'.repeat(64) } }],
  ['weights', { sha256: { ...manifest.sha256, 'model.onnx_data': 'c'.repeat(64) } }],
])('another %s is another fingerprint', (_what, change) => {
  expect(fingerprintOf({ ...manifest, ...change })).not.toBe(fingerprintOf(manifest));
});

test('names, words, dims to cut to and the order of keys are no part of the fingerprint', () => {
  const renamed: Manifest = {
    ...Object.fromEntries(Object.entries(manifest).toReversed()),
    ...manifest,
    name: 'other',
    description: '',
    licence: '',
    source: '',
    matryoshka: [1],
    graph: 'graph.onnx',
    sha256: { 'tokenizer.json': 'b'.repeat(64), 'graph.onnx': 'a'.repeat(64) },
    inputs: { mask: 'attention_mask', ids: 'input_ids' },
  };
  expect(fingerprintOf(renamed)).toBe(fingerprintOf(manifest));
});
