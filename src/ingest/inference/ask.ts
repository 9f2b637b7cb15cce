import type { TidemarkError } from '../../ground/errors.ts';
import type { Encoded } from './backend.ts';
import type { AskOptions, Embedded, LaneName } from './embedder.ts';

/** Texts that one caller asked for together, and what is known of them so far. */
export class Ask {
  readonly texts: readonly string[];
  readonly lane: LaneName;
  /** When it came, ms. */
  readonly since: number;
  /** Settles when every text has a vector or a failure, or the ask failed. */
  readonly answer: Promise<Embedded>;
  /** Nobody waits for it any more: it was answered, failed or cancelled. */
  isOver = false;
  /** That ran for it so far. */
  tokens = 0;
  readonly #settle = Promise.withResolvers<Embedded>();
  readonly #onText: AskOptions['onText'];
  readonly #dim: number;
  readonly #vectors: Float32Array;
  readonly #failures = new Map<number, TidemarkError>();
  #open: number;

  constructor(
    texts: readonly string[],
    { lane, onText }: Pick<AskOptions, 'lane' | 'onText'>,
    dim: number,
    now: number,
  ) {
    this.#onText = onText;
    this.texts = texts;
    this.lane = lane;
    this.since = now;
    this.answer = this.#settle.promise;
    this.#dim = dim;
    this.#vectors = new Float32Array(texts.length * dim);
    this.#open = texts.length;
  }

  /** Takes the vector of a text: row `row` of `vectors`. */
  take(index: number, vectors: Float32Array, row: number): void {
    const vector = vectors.subarray(row * this.#dim, (row + 1) * this.#dim);
    this.#vectors.set(vector, index * this.#dim);
    this.#onText?.(index, vector);
    this.#close();
  }

  /** Notes why a text has no vector. */
  refuse(index: number, failure: TidemarkError): void {
    this.#failures.set(index, failure);
    this.#onText?.(index, failure);
    this.#close();
  }

  /** Ends the ask as a whole. */
  fail(reason: unknown): void {
    this.isOver = true;
    this.#settle.reject(reason);
  }

  #close(): void {
    if (--this.#open > 0 || this.isOver) return;
    this.isOver = true;
    this.#settle.resolve({
      vectors: this.#vectors,
      failures: this.#failures,
      tokens: this.tokens,
    });
  }
}

/** One text of an ask on its way through a lane. */
export interface Item<E extends Encoded = Encoded> {
  readonly ask: Ask;
  /** Of the text in its ask. */
  readonly index: number;
  /** Its place among all that came. */
  readonly seq: number;
  /** As counted, or a guess until then. */
  tokens: number;
  encoded?: E;
}

/** A text whose tokens are counted. */
export type ReadyItem<E extends Encoded> = Item<E> & { encoded: E };
