import { TidemarkError } from '../ground/errors.ts';
import { type AskOptions, type Embedder, LANES } from './inference/embedder.ts';

/**
 * Vectors of the newest inputs are kept for others that meet an equal input before the first one is
 * committed: from the pool of inputs on, the store remembers.
 */
const RECENT_MAX = 8_192;

/** A text, and what tells it from the texts of all models. */
export interface KeyedText {
  key: string;
  text: string;
}

type Vector = Float32Array | TidemarkError;

/** Texts that went to an embedder together, and how many callers wait for one of them. */
interface Flight {
  lane: AskOptions['lane'];
  entries: Entry[];
  waiting: number;
  land: AbortController;
}

interface Entry {
  key: string;
  vector: Promise<Vector>;
  /** Whether it has its vector, or a failure of its own. */
  isSettled: boolean;
  flight: Flight;
}

/** Equal texts that are embedded at the same time, for whichever callers, are embedded once. */
export class Coalescer {
  /** By key, those that were asked for first before the others. */
  #recent = new Map<string, Entry>();

  /**
   * The vector of each text or why it has none, and how many of the texts were new. Keys are
   * distinct. A caller that is cancelled takes nothing from another that waits for an equal text:
   * what was asked leaves the queue when nobody waits for any of it.
   */
  async embed(
    embedder: Embedder,
    texts: readonly KeyedText[],
    { lane, signal }: AskOptions,
  ): Promise<{ vectors: Vector[]; fresh: number }> {
    signal?.throwIfAborted();
    const fresh = texts.filter(({ key }) => this.#isToAsk(key, lane));
    if (fresh.length > 0) this.#start(embedder, fresh, lane);
    const entries = texts.map(({ key }) => this.#recent.get(key)!);
    const flights = new Set(entries.map(({ flight }) => flight));
    for (const flight of flights) flight.waiting++;
    this.#trim();
    const cancelled = Promise.withResolvers<never>();
    const onAbort = (): void => cancelled.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const vectors = Promise.all(entries.map(async ({ vector }) => vector));
      return { vectors: await Promise.race([vectors, cancelled.promise]), fresh: fresh.length };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      for (const flight of flights) this.#leave(flight);
    }
  }

  /** A request does not wait for the turn of a text that a source asked for, nor a source for a backfill's. */
  #isToAsk(key: string, lane: AskOptions['lane']): boolean {
    const entry = this.#recent.get(key);
    if (entry === undefined) return true;
    return LANES.indexOf(lane) < LANES.indexOf(entry.flight.lane) && !entry.isSettled;
  }

  #start(embedder: Embedder, fresh: readonly KeyedText[], lane: AskOptions['lane']): void {
    const flight: Flight = { lane, entries: [], waiting: 0, land: new AbortController() };
    const settles = fresh.map(({ key }) => {
      const { promise, resolve, reject } = Promise.withResolvers<Vector>();
      const entry: Entry = { key, vector: promise, isSettled: false, flight };
      flight.entries.push(entry);
      // Who waits for it hears of a failure; that it is kept here is nobody's failure.
      promise.catch(() => this.#forget(entry));
      this.#recent.delete(key);
      this.#recent.set(key, entry);
      return { entry, resolve, reject };
    });
    // Each by itself, so that who waits for one text does not wait for all others of the flight.
    const onText: AskOptions['onText'] = (index, result) => {
      const { entry, resolve } = settles[index]!;
      entry.isSettled = true;
      // A text that the model died of is not given to it again and again.
      const isKept = !(result instanceof TidemarkError) || result.code === 'INFERENCE_FAILED';
      if (!isKept) this.#forget(entry);
      // A copy, since a view would keep the vectors of all.
      resolve(result instanceof TidemarkError ? result : result.slice());
    };
    const texts = fresh.map(({ text }) => text);
    embedder
      .embed(texts, { lane, signal: flight.land.signal, onText })
      .catch((reason: unknown) => settles.forEach(({ reject }) => reject(reason)));
  }

  #leave(flight: Flight): void {
    if (--flight.waiting > 0) return;
    const left = flight.entries.filter(({ isSettled }) => !isSettled);
    if (left.length === 0) return;
    // Whoever comes from now on asks anew.
    for (const entry of left) this.#forget(entry);
    flight.land.abort(new TidemarkError('BAD_REQUEST', 'nobody waits for these texts any more'));
  }

  #forget(entry: Entry): void {
    if (this.#recent.get(entry.key) === entry) this.#recent.delete(entry.key);
  }

  #trim(): void {
    for (const key of this.#recent.keys()) {
      if (this.#recent.size <= RECENT_MAX) return;
      this.#recent.delete(key);
    }
  }
}
