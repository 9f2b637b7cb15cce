import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

import { encodeModel, FLOAT, INT64 } from '../../../models/onnx-writer.ts';

// A model small enough to reckon by hand, laid out as sentence-transformers saves one. Each word
// has a vector of two numbers, and the hidden state of a token is the vector of its word.

/** The words that the model knows, and their vectors. */
const WORDS: Record<string, [number, number]> = {
  '[PAD]': [100, 100],
  '[UNK]': [0, 1],
  east: [1, 0],
  north: [0, 1],
  west: [-1, 0],
  broken: [Number.NaN, 0],
};

export interface TinyModel {
  /** What modules.json says, or none of it. */
  modules?: readonly string[];
  /** What 1_Pooling/config.json says. */
  pooling?: Record<string, unknown>;
  /** Where the graph lies. */
  graph?: string;
  /** The hidden size that config.json says; the graph's is 2. */
  hiddenSize?: number;
  /** How many of the words the graph knows: it fails on the others. */
  graphWords?: number;
}

/** A folder that is gone when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes the folder of a tiny model and returns its path. */
export async function writeTinyModel({
  modules = ['Transformer', 'Pooling', 'Normalize'],
  pooling = { pooling_mode_mean_tokens: true },
  graph = 'onnx/model.onnx',
  hiddenSize = 2,
  graphWords,
}: TinyModel = {}): Promise<string> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, 'onnx'));
  await mkdir(join(folder, '1_Pooling'));
  const put = (file: string, content: unknown): Promise<void> =>
    writeFile(join(folder, file), JSON.stringify(content));
  await writeFile(join(folder, graph), lookupGraph(graphWords));
  await put('tokenizer.json', wordTokenizer(Object.keys(WORDS)));
  await put('config.json', { hidden_size: hiddenSize, pad_token_id: 0 });
  await put('sentence_bert_config.json', { max_seq_length: 4, do_lower_case: false });
  await put('1_Pooling/config.json', { word_embedding_dimension: 2, ...pooling });
  const paths: Record<string, string> = { Transformer: '', Pooling: '1_Pooling' };
  await put(
    'modules.json',
    modules.map((type, idx) => ({
      idx,
      path: paths[type] ?? `${idx}_${type}`,
      type: `sentence_transformers.models.${type}`,
    })),
  );
  return folder;
}

function lookupGraph(words?: number): Buffer {
  const vectors = Object.values(WORDS).slice(0, words);
  const shape = ['rows', 'tokens'] as const;
  return encodeModel({
    name: 'lookup',
    inputs: ['input_ids', 'attention_mask'].map((name) => ({ name, type: INT64, dims: shape })),
    outputs: [{ name: 'last_hidden_state', type: FLOAT, dims: [...shape, 2] }],
    constants: [
      {
        name: 'table',
        type: FLOAT,
        dims: [vectors.length, 2],
        bytes: new Uint8Array(Float32Array.from(vectors.flat()).buffer),
      },
    ],
    nodes: [{ op: 'Gather', inputs: ['table', 'input_ids'], output: 'last_hidden_state' }],
  });
}

/** Words between white space, and limits of its own that must not count. */
export function wordTokenizer(words: readonly string[]): unknown {
  return {
    version: '1.0',
    truncation: { max_length: 1, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
    padding: {
      strategy: { Fixed: 8 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '[PAD]',
    },
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      unk_token: '[UNK]',
    },
  };
}
