import { TidemarkError, TryLater } from '../ground/errors.ts';
import type { Backend, Encoded } from './inference/backend.ts';
import { Batcher, type BatcherStatus } from './inference/batcher.ts';
import type { CircuitState } from './inference/circuit.ts';
import type { Embedder } from './inference/embedder.ts';
import type { EmbedMetrics } from './inference/metrics.ts';
import { listModels, openModel } from './inference/models.ts';
import { OnnxBackend } from './inference/onnx-backend.ts';
import { RemoteBackend } from './inference/remote-backend.ts';
import type { RemoteModel } from './inference/remote-config.ts';
import type { Provider } from './inference/session.ts';
import type { Log } from './kafka/client.ts';

const FIRST_WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;
/** Before a remote model is asked again after a failure, ms: the first time, and at most. */
const FIRST_BACKOFF_MS = 250;
const BACKOFF_MS_MAX = 10_000;
/** Texts that may wait in a lane, however short they are: each holds some memory. */
const QUEUE_TEXTS = 65_536;

export interface EmbedderState {
  name: string;
  state: 'warming' | 'warm' | 'failed';
  message?: string;
  /** Of a remote model. */
  circuit?: CircuitState;
}

export interface EmbeddersSettings {
  provider: Provider;
  workers: number;
  threads: number;
  batch_texts: number;
  batch_tokens: number;
  queue_tokens: number;
}

/** A model at work. */
interface Opened {
  embedder: Embedder & { readonly status: BatcherStatus };
  /** See the manifest. */
  goldenCosine?: number | undefined;
  /** Fewer numbers that its vectors can be cut to. */
  matryoshka: readonly number[];
  /** Of a remote model. */
  circuit?: () => CircuitState;
}

/** A model that was asked for: on its way, at work, or waiting for its next try. */
interface Entry {
  opening: Promise<Opened>;
  /** Once it works. */
  opened?: Opened;
  /** Why the last try failed. */
  failure?: TidemarkError;
  failures: number;
  /** Versions are bound to it: it is tried again whether or not somebody asks just now. */
  isNeeded: boolean;
  timer?: NodeJS.Timeout;
}

/** The models in use, each loaded once, when it is first asked for. */
export class Embedders {
  private modelsDir: string;
  private settings: EmbeddersSettings;
  private metrics: EmbedMetrics;
  private log: Log;
  private remotes: ReadonlyMap<string, RemoteModel>;
  private entries = new Map<string, Entry>();
  private isClosing = false;

  constructor(
    modelsDir: string,
    settings: EmbeddersSettings,
    metrics: EmbedMetrics,
    log: Log,
    remotes: readonly RemoteModel[] = [],
  ) {
    this.modelsDir = modelsDir;
    this.remotes = new Map(remotes.map((remote) => [remote.name, remote]));
    this.settings = settings;
    this.metrics = metrics;
    this.log = log;
  }

  /**
   * The model of that name, warm. One that could not be started is tried again after a while, and
   * until then its callers hear MODEL_UNAVAILABLE; `isNew` tries at once, and throws MODEL_INVALID
   * or what else is wrong with it.
   */
  async get(name: string, isNew = false): Promise<Embedder> {
    return (await this.open(name, isNew)).embedder;
  }

  /** The same for whoever only asks for vectors: what waits for its next try is not tried sooner. */
  async find(name: string): Promise<Opened> {
    return this.open(name, this.entries.get(name)?.failure === undefined);
  }

  private async open(name: string, isNew: boolean): Promise<Opened> {
    let entry = this.entries.get(name);
    if (entry === undefined || (isNew && entry.failure !== undefined)) {
      clearTimeout(entry?.timer);
      entry = this.start(name, entry?.failures ?? 0, entry?.isNeeded ?? false);
    }
    entry.isNeeded ||= !isNew;
    try {
      return await entry.opening;
    } catch (error) {
      this.retryLater(name, entry);
      if (isNew || !(error instanceof TidemarkError)) throw error;
      const { message } = error;
      throw new TryLater(
        'MODEL_UNAVAILABLE',
        `the model ${name} cannot be used now: ${message}`,
        Math.ceil(waitMs(entry) / 1_000),
        { cause: error },
      );
    }
  }

  /** Of a model at work: whether another server runs it, and the cosine that its manifest asks for. */
  traits(name: string): { isRemote: boolean; goldenCosine: number | undefined } {
    const goldenCosine = this.entries.get(name)?.opened?.goldenCosine;
    return { isRemote: this.remotes.has(name), goldenCosine };
  }

  /** Of every model that was asked for. */
  states(): EmbedderState[] {
    return [...this.entries].map(([name, { opened, failure }]) => {
      if (opened !== undefined) {
        const { embedder, circuit } = opened;
        return { name, ...embedder.status, ...(circuit && { circuit: circuit() }) };
      }
      if (failure === undefined) return { name, state: 'warming' };
      return { name, state: 'failed', message: failure.message };
    });
  }

  async close(): Promise<void> {
    this.isClosing = true;
    for (const { timer } of this.entries.values()) clearTimeout(timer);
    const started = await Promise.allSettled([...this.entries.values()].map((e) => e.opening));
    await Promise.all(
      started.map(async (each) =>
        each.status === 'fulfilled' ? each.value.embedder.close() : undefined,
      ),
    );
  }

  private start(name: string, failures: number, isNeeded: boolean): Entry {
    const opening = this.remotes.has(name) ? this.openRemote(name) : this.openLocal(name);
    const entry: Entry = { opening, failures, isNeeded };
    opening.then(
      (opened) => (entry.opened = opened),
      (error: unknown) => {
        // Whoever asks for names that there are not must not have them all remembered.
        if (!entry.isNeeded) this.entries.delete(name);
        entry.failures++;
        entry.failure =
          error instanceof TidemarkError ? error : new TidemarkError('INTERNAL', String(error));
        this.retryLater(name, entry);
      },
    );
    this.entries.set(name, entry);
    return entry;
  }

  private async openLocal(name: string): Promise<Opened> {
    const { provider, threads, workers, ...settings } = this.settings;
    const model = await openModel(this.modelsDir, name);
    const metrics = this.metrics.of(name);
    this.metrics.runsOn(name, provider);
    const backend = await OnnxBackend.start(model, {
      provider,
      workers,
      threads,
      limits: { rowsMax: settings.batch_texts, paddedTokensMax: settings.batch_tokens },
      onRestart: (how) => {
        metrics.restarted();
        this.log.warn({ model: name }, `a worker is started anew: ${how}`);
      },
    });
    return {
      embedder: this.batcherOf(name, backend),
      matryoshka: model.manifest.matryoshka ?? [],
      goldenCosine: model.manifest.golden_cosine,
    };
  }

  private async openRemote(name: string): Promise<Opened> {
    const entries = await listModels(this.modelsDir);
    if (entries.some((entry) => entry.name === name)) {
      throw new TidemarkError(
        'MODEL_INVALID',
        `${name} is the name of a remote model and of a model folder: rename one of them`,
      );
    }
    const backend = await RemoteBackend.start(this.remotes.get(name)!, {
      now: () => performance.now(),
      backoffMs: (failures) =>
        Math.min(BACKOFF_MS_MAX, FIRST_BACKOFF_MS * 2 ** (failures - 1)) * (0.5 + Math.random()),
      onRequest: (outcome) => this.metrics.asked(name, outcome),
      environment: process.env,
    });
    const circuit = (): CircuitState => backend.circuit;
    this.metrics.remote(name, circuit);
    this.metrics.runsOn(name, 'remote');
    return { embedder: this.batcherOf(name, backend), matryoshka: [], circuit };
  }

  private batcherOf<E extends Encoded>(name: string, backend: Backend<E>): Batcher<E> {
    return new Batcher(backend, {
      queue: { texts: QUEUE_TEXTS, tokens: this.settings.queue_tokens },
      now: () => performance.now(),
      metrics: this.metrics.of(name),
    });
  }

  private retryLater(name: string, entry: Entry): void {
    if (!entry.isNeeded || entry.timer !== undefined) return;
    if (this.isClosing || this.entries.get(name) !== entry) return;
    entry.timer = setTimeout(() => this.start(name, entry.failures, true), waitMs(entry));
  }
}

/** From a failure to the next try. */
function waitMs({ failures }: Entry): number {
  return Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** (failures - 1));
}
