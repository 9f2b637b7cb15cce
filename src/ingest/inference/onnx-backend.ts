import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import type { Backend, Ran, Runner } from './backend.ts';
import type { BatchLimits } from './batches.ts';
import { decodeFailure } from './failure.ts';
import { type Keeping, KeptWorker } from './kept-worker.ts';
import type { Model } from './model.ts';
import { NativeGate } from './native-gate.ts';
import type { RanBatch, WorkerSettings } from './onnx-worker.ts';
import type { Provider } from './session.ts';
import type { TokenizerSettings } from './tokenizer-worker.ts';
import {
  buffersOf,
  type PackedTokens,
  packTokens,
  type TokenizedText,
  unpackTokens,
} from './tokens.ts';
import { WorkerLife } from './worker-life.ts';

export interface OnnxSettings extends Partial<Keeping> {
  /** What runs the graph. Default `cpu`. */
  provider?: Provider;
  /** Threads that run the model, each with a session of its own. Default 1. */
  workers?: number;
  /** Threads that one run may use, beside those of the process. Default 1. */
  threads?: number;
  /** Default 16 texts, and 2,048 tokens with padding. */
  limits?: BatchLimits;
  /** Starts the threads; a test hands in its own to get hold of them, and must not end them. */
  startThread?: StartThread;
}

interface StartThread {
  tokenizer: (settings: TokenizerSettings) => Worker;
  runner: (settings: WorkerSettings) => Worker;
}

type Tokenizer = KeptWorker<readonly string[], PackedTokens>;
type RunWorker = KeptWorker<PackedTokens, RanBatch>;

/** A model in threads of this process: one counts tokens, the others run. */
export class OnnxBackend implements Backend<TokenizedText> {
  readonly name: string;
  readonly fingerprint: string;
  readonly dim: number;
  readonly limits: BatchLimits;
  readonly runners: readonly OnnxRunner[];
  readonly #tokenizer: Tokenizer;

  private constructor(
    model: Model,
    limits: BatchLimits,
    tokenizer: Tokenizer,
    workers: readonly RunWorker[],
  ) {
    this.name = model.manifest.name;
    this.fingerprint = model.fingerprint;
    this.dim = model.manifest.dim;
    this.limits = limits;
    this.#tokenizer = tokenizer;
    this.runners = workers.map((worker) => new OnnxRunner(worker));
  }

  /**
   * Loads the model and runs it once in every thread, so that the first request is as fast as the
   * second. Throws MODEL_INVALID when the model does not do what its manifest says, BAD_CONFIG when
   * the provider cannot be had.
   */
  static async start(
    model: Model,
    {
      provider = 'cpu',
      workers = 1,
      threads = 1,
      limits = { rowsMax: 16, paddedTokensMax: 2_048 },
      startThread: start = START_THREAD,
      random = Math.random,
      onRestart = () => {},
    }: OnnxSettings = {},
  ): Promise<OnnxBackend> {
    const { folder, manifest } = model;
    const keeping = { random, onRestart };
    const tokenizer: Tokenizer = await KeptWorker.start(() => {
      const gate = new NativeGate();
      const thread = start.tokenizer({ folder, manifest, gate: gate.memory });
      return new WorkerLife(thread, gate, `the tokenizer of ${manifest.name}`);
    }, keeping);
    const started: RunWorker[] = [];
    try {
      const warmUp = await tokenizer.ask(['warm-up']);
      const startRunner = (): WorkerLife<PackedTokens, RanBatch> => {
        const gate = new NativeGate();
        const settings = { folder, manifest, provider, threads, warmUp, gate: gate.memory };
        return new WorkerLife(start.runner(settings), gate, manifest.name);
      };
      const starts = Array.from({ length: workers }, async () => {
        started.push(await KeptWorker.start(startRunner, keeping));
      });
      for (const one of await Promise.allSettled(starts)) {
        if (one.status === 'rejected') throw one.reason;
      }
    } catch (error) {
      await Promise.all([tokenizer, ...started].map(async (worker) => worker.close()));
      throw error;
    }
    return new OnnxBackend(model, limits, tokenizer, started);
  }

  async encode(texts: readonly string[]): Promise<(TokenizedText | TidemarkError)[]> {
    await this.#tokenizer.ready();
    return unpackTokens(await this.#tokenizer.ask(texts)).map((text) =>
      text.tokens > 0
        ? text
        : new TidemarkError(
            'BAD_INPUT',
            'the text has no tokens, expected something that the model can read',
          ),
    );
  }

  async close(): Promise<void> {
    const workers = [this.#tokenizer, ...this.runners.map(({ worker }) => worker)];
    await Promise.all(workers.map(async (worker) => worker.close()));
  }
}

class OnnxRunner implements Runner<TokenizedText> {
  /** One runs, and one waits in the thread's port. */
  readonly depth = 2;
  readonly worker: RunWorker;

  constructor(worker: RunWorker) {
    this.worker = worker;
  }

  async ready(): Promise<void> {
    return this.worker.ready();
  }

  async run(batch: readonly TokenizedText[]): Promise<Ran> {
    const packed = packTokens(batch);
    const { vectors, failures, seconds } = await this.worker.ask(packed, buffersOf(packed));
    return {
      vectors,
      seconds,
      failures: new Map(failures.map(([row, failure]) => [row, decodeFailure(failure)])),
    };
  }
}

/** The threads beside this file: .ts files in a clone, .js files in the built package. */
export const START_THREAD: StartThread = {
  tokenizer: (settings) => startThread('tokenizer-worker', settings),
  runner(settings) {
    // ONNX Runtime reports its use to its maker unless it is told not to, in the process's real
    // environment, which only the main thread can write. A store must not call home.
    process.env['ORT_DISABLE_TELEMETRY'] ??= '1';
    return startThread('onnx-worker', settings);
  },
};

function startThread(file: string, settings: WorkerSettings | TokenizerSettings): Worker {
  return new Worker(new URL(`./${file}${extname(import.meta.url)}`, import.meta.url), {
    name: `tidemark-${file}-${settings.manifest.name}`,
    workerData: settings,
    // Flags of the process, such as --eval, are about its own first file.
    execArgv: [],
  });
}
