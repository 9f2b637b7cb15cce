import { TidemarkError } from '../ground/errors.ts';
import type { AskOptions, Embedder } from './inference/embedder.ts';

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
  keys: readonly string[];
  waiting: number;
  land: AbortController;
}

interface Entry {
  vector: Promise<Vector>;
  flight: Flight;
}

/** Equal texts that are embedded at the same time, for whichever callers, are embedded once. */
export class Coalescer {
  /** By key, the oldest first. */
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
    const fresh = texts.filter(({ key }) => !this.#recent.has(key));
    if (fresh.length > 0) this.#start(embedder, fresh, lane);
    const entries = texts.map(({ key }) => this.#recent.get(key)!);
    const flights = new Set(entries.map(({ flight }) => flight));
    for (const flight of flights) flight.waiting++;
    this.#trim();
    const cancelled = Promise.withResolvers<never>();
    const onAbort = (): void => {
      cancelled.reject(signal?.reason);
      for (const flight of flights) this.#leave(flight);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const vectors = Promise.all(entries.map(async ({ vector }) => vector));
      return { vectors: await Promise.race([vectors, cancelled.promise]), fresh: fresh.length };
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #start(embedder: Embedder, fresh: readonly KeyedText[], lane: AskOptions['lane']): void {
    const { dim } = embedder;
    const flight = { keys: fresh.map(({ key }) => key), waiting: 0, land: new AbortController() };
    const texts = fresh.map(({ text }) => text);
    const embedded = embedder.embed(texts, { lane, signal: flight.land.signal });
    for (const [at, { key }] of fresh.entries()) {
      const vector = embedded.then(({ vectors, failures }): Vector => {
        const failure = failures.get(at);
        if (failure === undefined) return vectors.subarray(at * dim, (at + 1) * dim);
        // A text that the model died of is not given to it again and again.
        if (failure.code !== 'INFERENCE_FAILED') this.#forget(flight, key);
        return failure;
      });
      // Who waits for it hears of a failure; that it is kept here is nobody's failure.
      vector.catch(() => this.#forget(flight, key));
      this.#recent.set(key, { vector, flight });
    }
  }

  #leave(flight: Flight): void {
    if (--flight.waiting > 0) return;
    // Whoever comes from now on asks anew.
    for (const key of flight.keys) this.#forget(flight, key);
    flight.land.abort(new TidemarkError('BAD_REQUEST', 'nobody waits for these texts any more'));
  }

  #forget(flight: Flight, key: string): void {
    if (this.#recent.get(key)?.flight === flight) this.#recent.delete(key);
  }

  #trim(): void {
    for (const key of this.#recent.keys()) {
      if (this.#recent.size <= RECENT_MAX) return;
      this.#recent.delete(key);
    }
  }
}
