import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { encodeModel, FLOAT, FLOAT16, INT64 } from '../../../models/onnx-writer.ts';
import { temporaryFolder, wordTokenizer } from './tiny-model.ts';

// A model as decoders are exported: it takes positions, its weights are float16 in a file beside the
// graph, and the last token stands for the text. The hidden state of a token is the vector of its
// word plus the vector of its position.

const WORDS = ['[PAD]', '[UNK]', 'east', 'north', 'west'];
const DIM = 4;
const TOKENS_MAX = 4;

/** What the first numbers of a word, and then of a position, are: whole, and so exact in float16. */
export const wordVector = (word: string): number[] =>
  Array.from({ length: DIM }, (_, i) => WORDS.indexOf(word) * 3 + i);
export const positionVector = (position: number): number[] =>
  Array.from({ length: DIM }, (_, i) => (position + 1) * 10 * (i + 1));

export interface TinyDecoder {
  /** The type of what the graph gives. */
  output?: typeof FLOAT | typeof FLOAT16;
}

/** Writes the folder of a tiny decoder and returns its path. */
export async function writeTinyDecoder({ output = FLOAT }: TinyDecoder = {}): Promise<string> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, 'onnx'));
  await mkdir(join(folder, '1_Pooling'));
  const words = Float16Array.from(WORDS.flatMap(wordVector));
  const positions = Float16Array.from(
    Array.from({ length: TOKENS_MAX }, (_, at) => positionVector(at)).flat(),
  );
  const shape = ['rows', 'tokens'] as const;
  const file = 'model.onnx_data';
  const graph = encodeModel({
    name: 'decoder',
    inputs: ['input_ids', 'attention_mask', 'position_ids'].map((name) => ({
      name,
      type: INT64,
      dims: shape,
    })),
    outputs: [{ name: 'last_hidden_state', type: output, dims: [...shape, DIM] }],
    constants: [
      {
        name: 'words',
        type: FLOAT16,
        dims: [WORDS.length, DIM],
        file,
        offset: 0,
        length: words.byteLength,
      },
      {
        name: 'positions',
        type: FLOAT16,
        dims: [TOKENS_MAX, DIM],
        file,
        offset: words.byteLength,
        length: positions.byteLength,
      },
    ],
    nodes: [
      { op: 'Gather', inputs: ['words', 'input_ids'], output: 'word' },
      { op: 'Gather', inputs: ['positions', 'position_ids'], output: 'position' },
      { op: 'Add', inputs: ['word', 'position'], output: 'state' },
      {
        op: 'Cast',
        inputs: ['state'],
        output: 'last_hidden_state',
        attributes: { to: output },
      },
    ],
  });
  await writeFile(join(folder, 'onnx', 'model.onnx'), graph);
  await writeFile(join(folder, 'onnx', file), Buffer.concat([bytesOf(words), bytesOf(positions)]));
  const put = (name: string, content: unknown): Promise<void> =>
    writeFile(join(folder, name), JSON.stringify(content));
  await put('tokenizer.json', wordTokenizer(WORDS));
  await put('config.json', { hidden_size: DIM, pad_token_id: 0 });
  await put('sentence_bert_config.json', { max_seq_length: TOKENS_MAX });
  await put('1_Pooling/config.json', { pooling_mode_lasttoken: true });
  await put('modules.json', [
    { idx: 0, path: '', type: 'sentence_transformers.models.Transformer' },
    { idx: 1, path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
  ]);
  return folder;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float16Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
