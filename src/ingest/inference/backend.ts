import type { TidemarkError } from '../../ground/errors.ts';
import type { BatchLimits } from './batches.ts';

/** A text that any model takes: where it does not run, nothing does. */
export const TRIAL_TEXT = 'trial';

/** A text as a model reads it, ready to run. What else is in it is between a backend and itself. */
export interface Encoded {
  /** As many as will run. */
  readonly tokens: number;
  /** The text has more than the model reads. */
  readonly isTruncated: boolean;
}

/** What became of a batch. */
export interface Ran {
  /** Rows × dim float32, in the order of the batch; the row of one that failed is not read. */
  vectors: Float32Array;
  /** By index into the batch: what is wrong with this text, and would be at the next try. */
  failures: ReadonlyMap<number, TidemarkError>;
  /** How long it ran, without its wait for the batch before it. */
  seconds: number;
}

/**
 * A batch that was given to a runner and has no answer: the thread died, the server broke off. It is
 * tried again; one that was blamed twice is halved, down to the text that fails alone.
 */
export class BatchLost extends Error {
  override name = 'BatchLost';
  /** Whether the batch may have been the cause: not when it waited behind the one that ran. */
  readonly isBlamed: boolean;

  constructor(message: string, isBlamed: boolean) {
    super(message);
    this.isBlamed = isBlamed;
  }
}

/** Runs one batch after another: a thread with a session, or a connection to a server. */
export interface Runner<E extends Encoded> {
  /** Batches that it holds at once at most: with 2, the next one is there when one has run. */
  readonly depth: number;
  /**
   * Resolves when it can run. Rejects with MODEL_UNAVAILABLE when the try under way has failed; the
   * next call is about the next try, before which it waits: longer each time.
   */
  ready(): Promise<void>;
  /**
   * Rejects with BatchLost, or with what is about no text of the batch: then whoever asked for one
   * of them hears of it.
   */
  run(batch: readonly E[]): Promise<Ran>;
}

/** What a batcher drives: something that counts the tokens of texts, and runners. */
export interface Backend<E extends Encoded = Encoded> {
  readonly name: string;
  /** Names everything that makes the vectors. */
  readonly fingerprint: string;
  readonly dim: number;
  /** How much one run may hold. */
  readonly limits: BatchLimits;
  readonly runners: readonly Runner<E>[];
  /**
   * The texts in their order, ready to run, or what is wrong with one. Off this thread where it
   * takes long. Rejects with BatchLost, as `run` does, or with what is about no text.
   */
  encode(texts: readonly string[]): Promise<(E | TidemarkError)[]>;
  /** Frees what it holds. Nothing is under way by then; who waits for `ready` hears of it. */
  close(): Promise<void>;
}
