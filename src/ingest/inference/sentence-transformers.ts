import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { z } from 'zod';

import { TidemarkError } from '../../ground/errors.ts';
import { formatManifest, MANIFEST_FILE, type Manifest } from './manifest.ts';
import { sha256File } from './model.ts';
import { inputsOf, openSession, outputsOf, type TensorSpec } from './session.ts';

// Reads the folders that sentence-transformers saves and Hugging Face hosts:
//
//   config.json                  hidden_size, pad_token_id, max_position_embeddings
//   tokenizer.json
//   modules.json                 what follows the transformer: Pooling, Normalize, …
//   1_Pooling/config.json        how tokens become one vector
//   sentence_bert_config.json    max_seq_length
//   onnx/model.onnx              or model.onnx, or a quantised one of several names

/** Where graphs lie, the full one before the quantised ones. */
const GRAPH_FOLDERS = ['onnx', '.'];
const GRAPH_NAMES = [
  /^model\.onnx$/,
  /^model_O[1-4]\.onnx$/,
  /^model_(quantized|int8|uint8)\.onnx$/,
  /^model_q(u?)int8.*\.onnx$/,
];

const configSchema = z.object({
  hidden_size: z.int().min(1).optional(),
  pad_token_id: z.int().min(0).nullish(),
  max_position_embeddings: z.int().min(1).optional(),
});
const modulesSchema = z.array(z.object({ type: z.string(), path: z.string() }));
const poolingSchema = z.record(z.string(), z.unknown());
const lengthSchema = z.object({ max_seq_length: z.int().min(1).nullish() });

type Pooling = Manifest['pooling'];

/**
 * Copies what Tidemark needs of `source` to the empty folder `target`, with a manifest written
 * last. Throws MODEL_INVALID, naming the file, for a model that Tidemark cannot run as it was
 * trained: one with a dense layer on top, or with a pooling other than mean, CLS and last token.
 */
export async function importModel(source: string, target: string, name: string): Promise<void> {
  const graph = await findGraph(source);
  const config = await readJson(source, 'config.json', configSchema);
  if (config === undefined) throw cannot(source, 'config.json is missing');
  const modules = await readModules(source);
  const length = await readJson(source, 'sentence_bert_config.json', lengthSchema);
  const tensors = await readTensors(graph);
  const output = chooseOutput(source, tensors.outputs, modules.pooling);
  const dim = Number(output.spec.shape.at(-1)) || config.hidden_size;
  if (dim === undefined) throw cannot(source, 'config.json has no hidden_size');
  const tokensMax = length?.max_seq_length ?? config.max_position_embeddings;
  if (tokensMax === undefined) {
    throw cannot(source, 'neither sentence_bert_config.json nor config.json limits its tokens');
  }

  const files = [basename(graph), ...(await externalData(graph))];
  for (const file of files) await copyFile(join(dirname(graph), file), join(target, file));
  await copyFile(join(source, 'tokenizer.json'), join(target, 'tokenizer.json')).catch(() => {
    throw cannot(source, 'tokenizer.json is missing');
  });
  const sha256: Record<string, string> = {};
  for (const file of [...files, 'tokenizer.json']) {
    sha256[file] = await sha256File(join(target, file));
  }
  const manifest: Manifest = {
    format: 1,
    name,
    description: '',
    licence: 'see the source',
    source: basename(source),
    graph: basename(graph),
    tokenizer: { kind: 'huggingface', file: 'tokenizer.json', pad_id: config.pad_token_id ?? 0 },
    max_tokens: tokensMax,
    pooling: output.pooling,
    normalise: modules.normalise,
    dim,
    inputs: nameInputs(source, tensors.inputs),
    output: output.spec.name,
    sha256,
  };
  await writeFile(join(target, MANIFEST_FILE), formatManifest(manifest));
}

async function findGraph(source: string): Promise<string> {
  for (const pattern of GRAPH_NAMES) {
    for (const folder of GRAPH_FOLDERS) {
      const files: string[] = await readdir(join(source, folder)).catch(() => []);
      const found = files.toSorted().find((file) => pattern.test(file));
      if (found !== undefined) return join(source, folder, found);
    }
  }
  throw cannot(source, 'there is no onnx/model.onnx and no model.onnx');
}

/** Weights beyond 2 GB lie beside the graph, named after it. */
async function externalData(graph: string): Promise<string[]> {
  const files = await readdir(dirname(graph));
  const known = [`${basename(graph)}_data`, `${basename(graph)}.data`];
  return files.filter((file) => known.includes(file));
}

/** What sentence-transformers does after the transformer; mean pooling where it is not told. */
async function readModules(source: string): Promise<{ pooling: Pooling; normalise: boolean }> {
  const modules = await readJson(source, 'modules.json', modulesSchema);
  if (modules === undefined) return { pooling: 'mean', normalise: false };
  let pooling: Pooling | undefined;
  let normalise = false;
  for (const { type, path } of modules) {
    const kind = type.split('.').at(-1);
    if (kind === 'Normalize') normalise = true;
    else if (kind === 'Pooling') pooling = await readPooling(source, join(path, 'config.json'));
    else if (kind !== 'Transformer') {
      throw cannot(source, `modules.json has ${type}, expected Transformer, Pooling and Normalize`);
    }
  }
  if (pooling === undefined) throw cannot(source, 'modules.json has no Pooling');
  return { pooling, normalise };
}

async function readPooling(source: string, file: string): Promise<Pooling> {
  const config = await readJson(source, file, poolingSchema);
  if (config === undefined) throw cannot(source, `${file} is missing`);
  const modes = Object.keys(config).filter(
    (key) => key.startsWith('pooling_mode_') && config[key] === true,
  );
  const mode =
    typeof config['pooling_mode'] === 'string' ? config['pooling_mode'] : modes.join(' and ');
  if (mode === 'mean' || mode === 'pooling_mode_mean_tokens') return 'mean';
  if (mode === 'cls' || mode === 'pooling_mode_cls_token') return 'cls';
  if (mode === 'lasttoken' || mode === 'pooling_mode_lasttoken') return 'last';
  throw cannot(
    source,
    `${file} says ${mode || 'no mode'}, expected mean, CLS or last token pooling`,
  );
}

interface Tensors {
  inputs: TensorSpec[];
  outputs: TensorSpec[];
}

async function readTensors(graph: string): Promise<Tensors> {
  const session = await openSession(graph, { threads: 1, provider: 'cpu' });
  const tensors = { inputs: inputsOf(session), outputs: outputsOf(session) };
  await session.release();
  return tensors;
}

function nameInputs(source: string, inputs: readonly TensorSpec[]): Manifest['inputs'] {
  const names = inputs.map(({ name }) => name);
  const known = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];
  const odd = names.find((name) => !known.includes(name));
  if (odd !== undefined) {
    throw cannot(source, `its graph takes ${odd}, expected no more than ${known.join(', ')}`);
  }
  return {
    ids: 'input_ids',
    ...(names.includes('attention_mask') && { mask: 'attention_mask' }),
    ...(names.includes('token_type_ids') && { types: 'token_type_ids' }),
    ...(names.includes('position_ids') && { positions: 'position_ids' }),
  };
}

/** A graph that pools by itself has an output without a dimension of tokens: that one is read. */
function chooseOutput(
  source: string,
  outputs: readonly TensorSpec[],
  pooling: Pooling,
): { spec: TensorSpec; pooling: Pooling } {
  const pooled = outputs.find(({ name }) => name === 'sentence_embedding');
  if (pooled?.shape.length === 2) return { spec: pooled, pooling: 'none' };
  const named = ['last_hidden_state', 'token_embeddings'];
  const hidden =
    outputs.find(({ name }) => named.includes(name)) ??
    outputs.find(({ shape }) => shape.length === 3);
  if (hidden?.shape.length === 3) return { spec: hidden, pooling };
  const only = outputs.length === 1 ? outputs[0] : undefined;
  if (only?.shape.length === 2) return { spec: only, pooling: 'none' };
  throw cannot(
    source,
    `its graph gives ${outputs.map(({ name }) => name).join(', ')}, expected sentence_embedding or last_hidden_state`,
  );
}

/** The file's content, or undefined when there is no such file. */
async function readJson<T>(
  source: string,
  file: string,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  const text = await readFile(join(source, file), 'utf8').catch(() => {});
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw cannot(source, `${file} is not JSON`);
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw cannot(source, `${file}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

function cannot(source: string, problem: string): TidemarkError {
  return new TidemarkError('MODEL_INVALID', `cannot make a model of ${source}: ${problem}`);
}
