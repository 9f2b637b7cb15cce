import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';
import type { WorkerLife } from './worker-life.ts';

const FIRST_WAIT_MS = 100;
const WAIT_MS_MAX = 30_000;

/** How a worker is kept. */
export interface Keeping {
  /** In [0, 1): so that workers that died together do not start together. */
  random: () => number;
  /** Hears of every worker that is started in the place of another, and how that one died. */
  onRestart: (how: string) => void;
}

/**
 * A worker that is there again after it died: after a wait, longer each time until one of them
 * answers.
 */
export class KeptWorker<A, V> {
  readonly #start: () => WorkerLife<A, V>;
  readonly #keeping: Keeping;
  #life: WorkerLife<A, V>;
  /** Settles when the next restart, or the one under way, is ready or has failed. */
  #try = Promise.withResolvers<void>();
  #deaths = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosing = false;

  private constructor(start: () => WorkerLife<A, V>, keeping: Keeping) {
    this.#start = start;
    this.#keeping = keeping;
    this.#life = start();
  }

  /** Resolves with the worker when it is ready for the first time. Rejects with what it says. */
  static async start<A, V>(
    start: () => WorkerLife<A, V>,
    keeping: Keeping,
  ): Promise<KeptWorker<A, V>> {
    const worker = new KeptWorker(start, keeping);
    await worker.#life.ready;
    void worker.#watch();
    return worker;
  }

  /** As `Runner.ready`. */
  async ready(): Promise<void> {
    if (!this.#life.isServing) await this.#try.promise;
  }

  /** As `WorkerLife.ask`. */
  async ask(ask: A, moved?: ArrayBuffer[]): Promise<V> {
    const value = await this.#life.ask(ask, moved);
    this.#deaths = 0;
    return value;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#timer);
    this.#try.promise.catch(() => {});
    this.#try.reject(new TidemarkError('SHUTTING_DOWN', 'the model is being closed'));
    await this.#life.finish();
  }

  /** Sees a life to its end, and has the next one start. */
  async #watch(): Promise<void> {
    const how = await this.#life.ended;
    if (this.#isClosing) return;
    const wait = Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** this.#deaths++);
    this.#timer = setTimeout(() => void this.#restart(how), wait * (0.5 + this.#keeping.random()));
  }

  async #restart(how: string): Promise<void> {
    this.#keeping.onRestart(how);
    this.#life = this.#start();
    void this.#watch();
    const { resolve, reject, promise } = this.#try;
    // Nobody may be waiting.
    promise.catch(() => {});
    try {
      await this.#life.ready;
      this.#try = Promise.withResolvers();
      resolve();
    } catch (error) {
      this.#try = Promise.withResolvers();
      reject(new TidemarkError('MODEL_UNAVAILABLE', messageOf(error), { cause: error }));
    }
  }
}
