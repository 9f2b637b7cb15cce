import type { TidemarkError } from '../../ground/errors.ts';

/**
 * Whose turn it is: `rest` has somebody waiting for the answer, `nearline` has a log that waits as
 * long as it takes. While both wait, each has its share. `backfill` has what these leave, and a
 * small share at the least.
 */
export const LANES = ['rest', 'nearline', 'backfill'] as const;
export type LaneName = (typeof LANES)[number];

export interface AskOptions {
  lane: LaneName;
  /** Aborted when nobody wants the vectors any more: texts that do not run yet leave the queue. */
  signal?: AbortSignal | undefined;
  /**
   * Hears of every text by its index, as soon as it is known: its vector, to be copied before this
   * returns, or why it has none. Of all of them before the answer is there.
   */
  onText?: ((index: number, result: Float32Array | TidemarkError) => void) | undefined;
}

/** The vectors of the texts that were asked for, and why some of them have none. */
export interface Embedded {
  /**
   * Texts × dim float32, in the order of the texts, row after row. Every row is finite and not all
   * zeros; that of a text that failed is all zeros.
   */
  vectors: Float32Array;
  /**
   * By index into the texts: what is wrong with this text (BAD_INPUT, BAD_VECTOR,
   * INFERENCE_FAILED), and would be at the next try.
   */
  failures: ReadonlyMap<number, TidemarkError>;
  /** That ran for these texts; absent where nobody counts. */
  tokens?: number;
}

/** What turns model inputs into vectors: the port between the pipeline and a model. */
export interface Embedder {
  /** Names everything that makes the vectors: two embedders with one fingerprint agree. */
  readonly fingerprint: string;
  /** Numbers in a vector. */
  readonly dim: number;
  /**
   * The vectors of the texts, exactly as given (normalise them before). A text that cannot be
   * embedded fails alone. Rejects for what is about no text: OVERLOADED (`rest` only; `nearline`
   * waits for room), MODEL_UNAVAILABLE and SHUTTING_DOWN may be over when it is tried again; and
   * with the signal's reason once it is aborted.
   */
  embed(texts: readonly string[], options: AskOptions): Promise<Embedded>;
  /** How many tokens the texts have, each as far as the model reads it; absent where nobody counts. */
  countTokens?(texts: readonly string[]): Promise<number>;
  /** Finishes what was asked before, refuses what is asked after, and frees the model. */
  close(): Promise<void>;
}
