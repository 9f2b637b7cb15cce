import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { formatManifest, MANIFEST_FILE, type Manifest } from '../src/ingest/inference/manifest.ts';
import { encodeModel, FLOAT, INT64, INT8 } from './onnx-writer.ts';

// Makes models/hashing, the model that is there without a download. Its graph is a fixed random
// projection: hashed features in, a short vector out, so that texts with words in common are close.
//
//   ids [rows, tokens] ── Gather ── Cast ──┐
//                     table                MatMul ── Squeeze ── sum
//   weights [rows, tokens] ── Unsqueeze ───┘
//
// A padded token has weight 0, so the weights are the mask as well. Weights are multiples of 1/256
// and the table is ±1: sums below 2^16 are exact in float32, in whatever order and batch a machine
// adds them up. What divides them by their length is not in the graph, for the same reason.

const DIM = 128;
const BUCKETS = 4_096;
const GRAPH_FILE = 'model.onnx';

/**
 * One row of ±1 for each bucket, as int8: the signs are the bits of a hash, so that every machine
 * makes the same table. Random signs keep the angles between sums of few rows, within about
 * 1/√128.
 */
function projectionTable(): Int8Array {
  const table = new Int8Array(BUCKETS * DIM);
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const bits = createHash('sha256').update(`tidemark hashing 1 bucket ${bucket}`).digest();
    for (let i = 0; i < DIM; i++) {
      table[bucket * DIM + i] = ((bits[i >> 3] ?? 0) >> (i & 7)) & 1 ? 1 : -1;
    }
  }
  return table;
}

/** The files of the model folder by name; the same bytes whenever and wherever it is called. */
export function buildHashingModel(): Record<string, Buffer> {
  const axis = Buffer.alloc(8);
  axis.writeBigInt64LE(1n);
  const graph = encodeModel({
    name: 'hashing',
    inputs: [
      { name: 'ids', type: INT64, dims: ['rows', 'tokens'] },
      { name: 'weights', type: FLOAT, dims: ['rows', 'tokens'] },
    ],
    outputs: [{ name: 'sum', type: FLOAT, dims: ['rows', DIM] }],
    constants: [
      {
        name: 'table',
        type: INT8,
        dims: [BUCKETS, DIM],
        bytes: new Uint8Array(projectionTable().buffer),
      },
      { name: 'axis', type: INT64, dims: [1], bytes: axis },
    ],
    nodes: [
      { op: 'Gather', inputs: ['table', 'ids'], output: 'signs' },
      { op: 'Cast', inputs: ['signs'], output: 'rows_of_features', attributes: { to: FLOAT } },
      { op: 'Unsqueeze', inputs: ['weights', 'axis'], output: 'row_of_weights' },
      { op: 'MatMul', inputs: ['row_of_weights', 'rows_of_features'], output: 'sums' },
      { op: 'Squeeze', inputs: ['sums', 'axis'], output: 'sum' },
    ],
  });
  const manifest: Manifest = {
    format: 1,
    name: 'hashing',
    description:
      'Not for ranking. Hashed words and character n-grams through a fixed random projection: texts that share words are close, meaning plays no part. For demos, tests and first steps without a download.',
    licence: 'Apache-2.0',
    source: 'made by models/build-hashing.ts',
    graph: GRAPH_FILE,
    tokenizer: {
      kind: 'hashing',
      scheme: 'words-ngrams-fnv1a32-256ths',
      buckets: BUCKETS,
      ngram_min: 3,
      ngram_max: 4,
      word_weight: 1,
      ngram_weight: 0.4,
    },
    // As many as there are buckets: a text is never cut.
    max_tokens: BUCKETS,
    pooling: 'none',
    normalise: true,
    dim: DIM,
    inputs: { ids: 'ids', weights: 'weights' },
    output: 'sum',
    sha256: { [GRAPH_FILE]: createHash('sha256').update(graph).digest('hex') },
  };
  return { [GRAPH_FILE]: graph, [MANIFEST_FILE]: Buffer.from(formatManifest(manifest)) };
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, 'hashing');
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(buildHashingModel())) {
    writeFileSync(join(folder, file), content);
    console.log(`models/hashing/${file}: ${content.length} bytes`);
  }
}
