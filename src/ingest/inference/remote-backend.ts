import { setTimeout as sleep } from 'node:timers/promises';

import { TidemarkError, TryLater } from '../../ground/errors.ts';
import {
  type Backend,
  BatchLost,
  type Encoded,
  type Ran,
  type Runner,
  TRIAL_TEXT,
} from './backend.ts';
import type { BatchLimits } from './batches.ts';
import { Circuit, type CircuitState } from './circuit.ts';
import { messageOf } from './failure.ts';
import { type RemoteAnswer, RemoteClient, RemoteFailure, TextsRefused } from './remote-client.ts';
import { remoteFingerprint, type RemoteModel } from './remote-config.ts';

/** As most tokenisers cut English; other scripts have fewer tokens by their bytes. */
const BYTES_PER_TOKEN = 4;

/** How a request ended: well, refused for its texts, or with a kind of failure. */
export type RemoteOutcome = 'ok' | 'refused' | RemoteFailure['kind'];

export interface RemoteSettings {
  /** ms, of a clock that never goes back. */
  now: () => number;
  /** Before the next try after so many failures in a row, ms. */
  backoffMs: (failures: number) => number;
  /** Hears of every request. */
  onRequest: (outcome: RemoteOutcome) => void;
  /** Where an API key may stand. */
  environment: Record<string, string | undefined>;
}

interface RemoteText extends Encoded {
  readonly text: string;
}

/** A model that another server runs. How many tokens a text has, only that server knows. */
export class RemoteBackend implements Backend<RemoteText> {
  readonly name: string;
  readonly fingerprint: string;
  readonly dim: number;
  readonly limits: BatchLimits;
  readonly runners: readonly RemoteRunner[];
  readonly #runner: RemoteRunner;

  private constructor(remote: RemoteModel, runner: RemoteRunner) {
    this.name = remote.name;
    this.fingerprint = remoteFingerprint(remote);
    this.dim = remote.dim;
    this.limits = { rowsMax: remote.batch_texts, paddedTokensMax: remote.batch_tokens };
    this.runners = [runner];
    this.#runner = runner;
  }

  /**
   * Asks the server for one vector. Throws MODEL_INVALID when it is not the model that is declared,
   * MODEL_UNAVAILABLE when it cannot be asked now.
   */
  static async start(remote: RemoteModel, settings: RemoteSettings): Promise<RemoteBackend> {
    const runner = new RemoteRunner(remote, settings);
    await runner.start();
    return new RemoteBackend(remote, runner);
  }

  get circuit(): CircuitState {
    return this.#runner.circuit;
  }

  async encode(texts: readonly string[]): Promise<RemoteText[]> {
    return texts.map((text) => ({
      text,
      tokens: 1 + Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN),
      isTruncated: false,
    }));
  }

  async close(): Promise<void> {
    this.#runner.close();
  }
}

/** As many requests at once as the server is to have, all behind one circuit breaker. */
class RemoteRunner implements Runner<RemoteText> {
  readonly depth: number;
  readonly #remote: RemoteModel;
  readonly #settings: RemoteSettings;
  readonly #client: RemoteClient;
  readonly #circuit: Circuit;
  readonly #closing = new AbortController();
  /** Whether it was said that the circuit is open. */
  #isTold = false;

  constructor(remote: RemoteModel, settings: RemoteSettings) {
    const { now, backoffMs, environment } = settings;
    this.depth = remote.concurrency;
    this.#remote = remote;
    this.#settings = settings;
    this.#client = new RemoteClient(remote, environment);
    this.#circuit = new Circuit({ failuresMax: remote.circuit_failures, now, backoffMs });
  }

  get circuit(): CircuitState {
    return this.#circuit.state;
  }

  async start(): Promise<void> {
    try {
      const { failures } = await this.#ask([TRIAL_TEXT]);
      for (const failure of failures.values()) throw failure;
    } catch (error) {
      if (error instanceof RemoteFailure && error.kind !== 'denied') {
        throw new TidemarkError('MODEL_UNAVAILABLE', error.message, { cause: error });
      }
      const message = `the remote model ${this.#remote.name} does not answer as declared: ${messageOf(error)}`;
      throw new TidemarkError('MODEL_INVALID', message, { cause: error });
    }
  }

  async ready(): Promise<void> {
    if (this.#circuit.state !== 'closed' && !this.#isTold) {
      this.#isTold = true;
      throw this.#unavailable();
    }
    await this.#pause();
    if (this.#circuit.state !== 'closed') {
      this.#circuit.tryOut();
      if (!(await this.#takesTrial())) throw this.#unavailable();
    }
    this.#isTold = false;
  }

  async run(batch: readonly RemoteText[]): Promise<Ran> {
    const start = this.#settings.now();
    const { dim } = this.#remote;
    const into = { vectors: new Float32Array(batch.length * dim), failures: new Map() };
    try {
      const texts = batch.map(({ text }) => text);
      await this.#embed(texts, 0, into);
    } catch (error) {
      if (!(error instanceof RemoteFailure)) throw error;
      throw new BatchLost(error.message, error.kind === 'broken' && (await this.#takesTrial()));
    }
    return { ...into, seconds: (this.#settings.now() - start) / 1_000 };
  }

  close(): void {
    this.#closing.abort(new TidemarkError('SHUTTING_DOWN', 'the model is being closed'));
  }

  /** The vectors of texts, written from row `from` on; what is refused is halved, down to one. */
  async #embed(texts: readonly string[], from: number, into: RemoteAnswer): Promise<void> {
    const { dim } = this.#remote;
    try {
      const { vectors, failures } = await this.#ask(texts);
      into.vectors.set(vectors, from * dim);
      for (const [row, failure] of failures) into.failures.set(from + row, failure);
    } catch (error) {
      if (!(error instanceof TextsRefused)) throw error;
      if (texts.length > 1) {
        const middle = Math.ceil(texts.length / 2);
        await this.#embed(texts.slice(0, middle), from, into);
        await this.#embed(texts.slice(middle), from + middle, into);
        return;
      }
      // A server whose model was taken away refuses every text, and none of them is to blame.
      if (!(await this.#takesTrial())) throw new RemoteFailure('denied', error.message);
      const why = `the remote model refuses the text: ${error.message}`;
      into.failures.set(from, new TidemarkError('BAD_INPUT', why));
    }
  }

  /** One request, tried again where that may help. */
  async #ask(texts: readonly string[]): Promise<RemoteAnswer> {
    for (let tries = 0; ; tries++) {
      await this.#pause();
      this.#requireClosed();
      try {
        return await this.#request(texts);
      } catch (error) {
        const isLast = tries >= this.#remote.retries || this.#circuit.state !== 'closed';
        if (!(error instanceof RemoteFailure) || isLast) throw error;
      }
    }
  }

  async #request(texts: readonly string[]): Promise<RemoteAnswer> {
    try {
      const answer = await this.#client.embed(texts, this.#closing.signal);
      this.#circuit.succeeded();
      this.#settings.onRequest('ok');
      return answer;
    } catch (error) {
      if (error instanceof TextsRefused) {
        this.#circuit.succeeded();
        this.#settings.onRequest('refused');
      } else if (error instanceof RemoteFailure) {
        this.#circuit.failed(error.message, error.asksMs, error.kind === 'denied');
        this.#settings.onRequest(error.kind);
      } else this.#circuit.failed(messageOf(error), 0, true);
      throw error;
    }
  }

  /** Whether the server has a vector for a text that is beyond doubt; not, while it is left alone. */
  async #takesTrial(): Promise<boolean> {
    if (this.#circuit.state === 'open') return false;
    await this.#pause();
    try {
      await this.#request([TRIAL_TEXT]);
      return true;
    } catch (error) {
      if (error instanceof TextsRefused) this.#circuit.failed(error.message, 0, true);
      return false;
    }
  }

  #requireClosed(): void {
    const { state, why } = this.#circuit;
    if (state !== 'closed') throw new RemoteFailure('busy', why);
  }

  async #pause(): Promise<void> {
    for (let wait = this.#circuit.waitMs; wait > 0; wait = this.#circuit.waitMs) {
      await sleep(Math.ceil(wait), undefined, { signal: this.#closing.signal });
    }
  }

  #unavailable(): TryLater {
    return new TryLater(
      'MODEL_UNAVAILABLE',
      `the remote model ${this.#remote.name} is left alone for a while: ${this.#circuit.why}`,
      Math.max(1, Math.ceil(this.#circuit.waitMs / 1_000)),
    );
  }
}
