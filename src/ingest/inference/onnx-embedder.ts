import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import type { Embedder } from './embedder.ts';
import type { EngineSettings } from './engine.ts';
import type { Model } from './model.ts';
import { NativeGate } from './native-gate.ts';
import type { WorkerSettings } from './onnx-worker.ts';
import type { Provider } from './session.ts';
import { WorkerLife } from './worker-life.ts';

export interface OnnxSettings {
  /** What runs the graph. Default `cpu`. */
  provider?: Provider;
  /** Threads that one run may use, beside those of the process. Default 1. */
  threads?: number;
  /** Texts that run together at most. Default 16. */
  batchRowsMax?: number;
  /** Rows times tokens of the longest row, in one run, at most. Default 2,048. */
  batchTokensMax?: number;
  /** Starts the thread; a test hands in its own to get hold of it (and must not terminate it). */
  startWorker?: (settings: WorkerSettings) => Worker;
}

/**
 * Runs a model in a worker thread. A thread that dies (out of memory, a defect of the graph)
 * rejects what it was asked with OVERLOADED, and the next call starts another.
 */
export class OnnxEmbedder implements Embedder {
  readonly fingerprint: string;
  readonly dim: number;
  readonly #start: () => WorkerLife;
  #life: WorkerLife;
  #closing: Promise<void> | undefined;

  private constructor(model: Model, settings: OnnxSettings) {
    this.fingerprint = model.fingerprint;
    this.dim = model.manifest.dim;
    const engineSettings: EngineSettings = {
      folder: model.folder,
      manifest: model.manifest,
      provider: settings.provider ?? 'cpu',
      threads: settings.threads ?? 1,
      limits: {
        rowsMax: settings.batchRowsMax ?? 16,
        paddedTokensMax: settings.batchTokensMax ?? 2_048,
      },
    };
    const startWorker = settings.startWorker ?? startOnnxWorker;
    this.#start = () => {
      const gate = new NativeGate();
      const worker = startWorker({ ...engineSettings, gate: gate.memory });
      return new WorkerLife(worker, gate, model.manifest.name);
    };
    this.#life = this.#start();
  }

  /**
   * Loads the model and embeds a first text, so that the first request is as fast as the second.
   * Throws MODEL_INVALID when the model does not do what its manifest says, BAD_CONFIG when the
   * provider cannot be had.
   */
  static async start(model: Model, settings: OnnxSettings = {}): Promise<OnnxEmbedder> {
    const embedder = new OnnxEmbedder(model, settings);
    await embedder.#life.ready;
    return embedder;
  }

  async embed(texts: readonly string[]): Promise<Float32Array> {
    if (this.#closing !== undefined) {
      throw new TidemarkError('SHUTTING_DOWN', 'the embedder is closed and takes no more texts');
    }
    if (texts.length === 0) return new Float32Array(0);
    if (this.#life.over) this.#life = this.#start();
    return this.#life.embed(texts);
  }

  async close(): Promise<void> {
    this.#closing ??= this.#life.finish();
    await this.#closing;
  }
}

/** Starts the worker beside this file: a .ts file in a clone, a .js file in the built package. */
export function startOnnxWorker(settings: WorkerSettings): Worker {
  // ONNX Runtime reports its use to its maker unless it is told not to, in the process's real
  // environment, which only the main thread can write. A store must not call home.
  process.env['ORT_DISABLE_TELEMETRY'] ??= '1';
  const file = `./onnx-worker${extname(import.meta.url)}`;
  return new Worker(new URL(file, import.meta.url), {
    name: `tidemark-model-${settings.manifest.name}`,
    workerData: settings,
    // Flags of the process, such as --eval, are about its own first file.
    execArgv: [],
  });
}
