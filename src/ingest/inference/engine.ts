import { join } from 'node:path';

import { type InferenceSession, Tensor } from 'onnxruntime-node';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { type BatchLimits, planBatches } from './batches.ts';
import { messageOf } from './failure.ts';
import type { Manifest } from './manifest.ts';
import type { NativeGate } from './native-gate.ts';
import { type Hidden, normOf, poolFirst, poolMean, scaleTo } from './pooling.ts';
import { inputsOf, openSession, outputsOf, type Provider } from './session.ts';
import { openTokenizer, type Tokenizer, type Tokens } from './tokenizer.ts';

/** What an engine needs to know; plain data, so that it can cross to a worker. */
export interface EngineSettings {
  folder: string;
  manifest: Manifest;
  threads: number;
  provider: Provider;
  limits: BatchLimits;
}

// Texts are tokenised and sorted by length this many at a time, so that a bootstrap of a million
// texts holds the tokens of a few.
const WINDOW_TEXTS = 1_024;

/** The tensors of one run, in the types that the graph declares. */
type Feeds = Record<string, Tensor>;

/** A tokenizer and a graph: texts in, vectors out, on the thread that calls it. */
export class Engine {
  readonly #manifest: Manifest;
  readonly #limits: BatchLimits;
  readonly #tokenizer: Tokenizer;
  readonly #session: InferenceSession;
  readonly #types: Map<string, string>;
  readonly #gate: NativeGate;

  private constructor(settings: EngineSettings, session: InferenceSession, gate: NativeGate) {
    this.#gate = gate;
    this.#manifest = settings.manifest;
    this.#limits = settings.limits;
    this.#tokenizer = openTokenizer(settings.folder, settings.manifest);
    this.#session = session;
    this.#types = new Map(inputsOf(session).map(({ name, type }) => [name, type]));
    checkTensors(settings.manifest, session);
  }

  /** Loads a model and embeds one text with it. Throws MODEL_INVALID or BAD_CONFIG. */
  static async open(settings: EngineSettings, gate: NativeGate): Promise<Engine> {
    const { folder, manifest } = settings;
    const session = await gate.pass(() => openSession(join(folder, manifest.graph), settings));
    const engine = new Engine(settings, session, gate);
    // The first run allocates, and shows whether the graph does what the manifest says.
    await engine.embed(['warm-up']).catch((error: unknown) => {
      throw new TidemarkError('MODEL_INVALID', `the model does not run: ${messageOf(error)}`, {
        cause: error,
      });
    });
    return engine;
  }

  /** As `Embedder.embed`. Blocks its thread while the graph runs. */
  async embed(texts: readonly string[]): Promise<Float32Array<ArrayBuffer>> {
    const { dim } = this.#manifest;
    const vectors = new Float32Array(texts.length * dim);
    for (let from = 0; from < texts.length; from += WINDOW_TEXTS) {
      const window = texts.slice(from, from + WINDOW_TEXTS);
      const tokens = await this.#gate.pass(() => this.#tokenizer.encode(window));
      assert(tokens.length === window.length, 'a tokenizer gives every text its tokens');
      const lengths = tokens.map(({ ids }, index) => {
        if (ids.length > 0) return ids.length;
        throw new TidemarkError(
          'BAD_INPUT',
          `text ${from + index} has no tokens, expected something that the model can read`,
        );
      });
      for (const batch of planBatches(lengths, this.#limits)) {
        const rows = batch.map((index) => mustGet(tokens, index));
        const hidden = await this.#run(rows);
        for (const [row, index] of batch.entries()) {
          const at = (from + index) * dim;
          const norm = this.#pool(
            hidden,
            row,
            mustGet(lengths, index),
            vectors.subarray(at, at + dim),
          );
          if (norm > 0 && norm < Infinity) continue;
          throw new TidemarkError(
            'BAD_VECTOR',
            `the model gave text ${from + index} a vector of length ${norm}, expected a finite one that is not all zeros`,
          );
        }
      }
    }
    return vectors;
  }

  async close(): Promise<void> {
    await this.#gate.pass(() => this.#session.release());
  }

  async #run(rows: readonly Tokens[]): Promise<Hidden> {
    const longest = Math.max(...rows.map(({ ids }) => ids.length));
    const feeds = this.#feed(rows, longest);
    const { output, dim, pooling } = this.#manifest;
    const results = await this.#gate.pass(() => this.#session.run(feeds, [output]));
    const tensor = results[output];
    for (const feed of Object.values(feeds)) feed.dispose();
    const shape = pooling === 'none' ? [rows.length, dim] : [rows.length, longest, dim];
    if (tensor === undefined || String(tensor.dims) !== String(shape)) {
      throw new TidemarkError(
        'MODEL_INVALID',
        `the graph gave ${output} of shape [${tensor?.dims.join(', ')}], expected [${shape.join(', ')}]`,
      );
    }
    if (!(tensor.data instanceof Float32Array)) {
      throw new TidemarkError(
        'MODEL_INVALID',
        `the graph gave ${output} as ${tensor.type}, expected float32`,
      );
    }
    return { data: tensor.data, tokens: pooling === 'none' ? 1 : longest, dim };
  }

  /** The input tensors of a batch, each `rows` × `longest`, padded on the right. */
  #feed(rows: readonly Tokens[], longest: number): Feeds {
    const { inputs } = this.#manifest;
    const feeds: Feeds = {};
    const size = rows.length * longest;
    const add = (name: string | undefined, fill: (into: NumberSink, row: number) => void): void => {
      if (name === undefined) return;
      const { tensorData, sink } = allocate(this.#types.get(name) ?? '', size);
      for (let row = 0; row < rows.length; row++) fill(sink, row);
      feeds[name] = new Tensor(tensorData, [rows.length, longest]);
    };
    add(inputs.ids, (into, row) => {
      const { ids } = mustGet(rows, row);
      for (let i = 0; i < longest; i++) into(row * longest + i, ids[i] ?? this.#tokenizer.padId);
    });
    add(inputs.mask, (into, row) => {
      const { ids } = mustGet(rows, row);
      for (let i = 0; i < ids.length; i++) into(row * longest + i, 1);
    });
    add(inputs.weights, (into, row) => {
      const { weights = [] } = mustGet(rows, row);
      for (let i = 0; i < weights.length; i++) into(row * longest + i, weights[i] ?? 0);
    });
    // One text is one segment: all zeros, as allocated.
    add(inputs.types, () => {});
    return feeds;
  }

  /** Writes a row's vector to `into` and returns the length it had before it was normalised. */
  #pool(hidden: Hidden, row: number, tokens: number, into: Float32Array): number {
    if (this.#manifest.pooling === 'mean') poolMean(hidden, row, tokens, into);
    else poolFirst(hidden, row, into);
    const norm = normOf(into);
    if (this.#manifest.normalise) scaleTo(into, norm);
    return norm;
  }
}

type NumberSink = (at: number, value: number) => void;

function allocate(
  type: string,
  size: number,
): { tensorData: BigInt64Array | Int32Array | Float32Array; sink: NumberSink } {
  if (type === 'float32') {
    const data = new Float32Array(size);
    return { tensorData: data, sink: (at, value) => void (data[at] = value) };
  }
  if (type === 'int32') {
    const data = new Int32Array(size);
    return { tensorData: data, sink: (at, value) => void (data[at] = value) };
  }
  const data = new BigInt64Array(size);
  // No token id has more than 31 bits. Writing the low half spares a BigInt for each token; ONNX
  // Runtime runs on little-endian machines only.
  const halves = new Int32Array(data.buffer);
  return { tensorData: data, sink: (at, value) => void (halves[at * 2] = value) };
}

/** Throws MODEL_INVALID when the graph does not have the tensors that the manifest names. */
function checkTensors(manifest: Manifest, session: InferenceSession): void {
  const fed = Object.values(manifest.inputs).filter((name) => name !== undefined);
  const inputs = inputsOf(session);
  const wanted = inputs.map(({ name }) => name);
  if (fed.toSorted().join() !== wanted.toSorted().join()) {
    throw new TidemarkError(
      'MODEL_INVALID',
      `the manifest feeds ${fed.join(', ')}, the graph takes ${wanted.join(', ')}`,
    );
  }
  const odd = inputs.find(({ type }) => !['int64', 'int32', 'float32'].includes(type));
  if (odd !== undefined) {
    throw new TidemarkError(
      'MODEL_INVALID',
      `the graph takes ${odd.name} as ${odd.type}, expected int64, int32 or float32`,
    );
  }
  const outputs = outputsOf(session).map(({ name }) => name);
  if (!outputs.includes(manifest.output)) {
    throw new TidemarkError(
      'MODEL_INVALID',
      `the manifest reads ${manifest.output}, the graph gives ${outputs.join(', ')}`,
    );
  }
}

function mustGet<T>(items: readonly T[], index: number): T {
  const item = items[index];
  assert(item !== undefined, () => `index ${index} is within ${items.length}`);
  return item;
}
