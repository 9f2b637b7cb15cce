import { join } from 'node:path';

import { type InferenceSession, Tensor } from 'onnxruntime-node';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';
import { type Manifest, padIdOf } from './manifest.ts';
import type { NativeGate } from './native-gate.ts';
import { type Hidden, normOf, poolFirst, poolLast, poolMean, scaleTo } from './pooling.ts';
import { inputsOf, openSession, outputsOf, type Provider } from './session.ts';
import type { Tokens } from './tokens.ts';

/** What an engine needs to know; plain data, so that it can cross to a worker. */
export interface EngineSettings {
  folder: string;
  manifest: Manifest;
  threads: number;
  provider: Provider;
}

/** The tensors of one run, in the types that the graph declares. */
type Feeds = Record<string, Tensor>;

/** A graph: tokens in, vectors out, on the thread that calls it. */
export class Engine {
  readonly #manifest: Manifest;
  readonly #session: InferenceSession;
  readonly #types: Map<string, string>;
  readonly #gate: NativeGate;

  private constructor(manifest: Manifest, session: InferenceSession, gate: NativeGate) {
    this.#gate = gate;
    this.#manifest = manifest;
    this.#session = session;
    this.#types = new Map(inputsOf(session).map(({ name, type }) => [name, type]));
    checkTensors(manifest, session);
  }

  /** Loads a model and runs it once. Throws MODEL_INVALID or BAD_CONFIG. */
  static async open(
    settings: EngineSettings,
    warmUp: readonly Tokens[],
    gate: NativeGate,
  ): Promise<Engine> {
    const { folder, manifest } = settings;
    const session = await gate.pass(() => openSession(join(folder, manifest.graph), settings));
    const engine = new Engine(manifest, session, gate);
    // The first run allocates, and shows whether the graph does what the manifest says.
    try {
      const { failures } = await engine.run(warmUp);
      for (const failure of failures.values()) throw failure;
    } catch (error) {
      const message = `the model does not run: ${messageOf(error)}`;
      throw new TidemarkError('MODEL_INVALID', message, { cause: error });
    }
    return engine;
  }

  /**
   * Runs a batch: a row of dim numbers for each text, and by row why it is none. Blocks its thread
   * while the graph runs.
   */
  async run(batch: readonly Tokens[]): Promise<{
    vectors: Float32Array<ArrayBuffer>;
    failures: Map<number, TidemarkError>;
  }> {
    const { dim } = this.#manifest;
    const vectors = new Float32Array(batch.length * dim);
    const failures = new Map<number, TidemarkError>();
    const hidden = await this.#run(batch);
    for (const [row, { ids }] of batch.entries()) {
      const vector = vectors.subarray(row * dim, (row + 1) * dim);
      const norm = this.#pool(hidden, row, ids.length, vector);
      if (norm > 0 && norm < Infinity) continue;
      const problem = `the model gave the text a vector of length ${norm}, expected a finite one that is not all zeros`;
      failures.set(row, new TidemarkError('BAD_VECTOR', problem));
    }
    return { vectors, failures };
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
    return { data: float32Of(tensor, output), tokens: pooling === 'none' ? 1 : longest, dim };
  }

  /** The input tensors of a batch, each `rows` × `longest`, padded on the right. */
  #feed(rows: readonly Tokens[], longest: number): Feeds {
    const { inputs } = this.#manifest;
    const padId = padIdOf(this.#manifest);
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
      for (let i = 0; i < longest; i++) into(row * longest + i, ids[i] ?? padId);
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
    add(inputs.positions, (into, row) => {
      // Padding has positions too, which nothing that counts looks at.
      for (let i = 0; i < longest; i++) into(row * longest + i, i);
    });
    return feeds;
  }

  /** Writes a row's vector to `into` and returns the length it had before it was normalised. */
  #pool(hidden: Hidden, row: number, tokens: number, into: Float32Array): number {
    const { pooling } = this.#manifest;
    if (pooling === 'mean') poolMean(hidden, row, tokens, into);
    else if (pooling === 'last') poolLast(hidden, row, tokens, into);
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

/** What a graph gave, as float32. Throws MODEL_INVALID for other types than it and float16. */
function float32Of({ data, type }: Tensor, output: string): Float32Array {
  if (data instanceof Float32Array) return data;
  if (type === 'float16' && ArrayBuffer.isView(data)) {
    const halves = new Float16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    return Float32Array.from(halves);
  }
  throw new TidemarkError(
    'MODEL_INVALID',
    `the graph gave ${output} as ${type}, expected float32 or float16`,
  );
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
