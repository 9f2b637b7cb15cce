/** What turns model inputs into vectors: the port between the pipeline and a model. */
export interface Embedder {
  /** Names everything that makes the vectors: two embedders with one fingerprint agree. */
  readonly fingerprint: string;
  /** Numbers in a vector. */
  readonly dim: number;
  /**
   * The vectors of the texts, exactly as given (normalise them before), in their order:
   * `texts.length` × `dim` float32, row after row. Every row is finite and not all zeros.
   * A failure rejects the whole call: BAD_INPUT and BAD_VECTOR name the row that is to blame,
   * OVERLOADED means that the same call may go through later.
   */
  embed(texts: readonly string[]): Promise<Float32Array>;
  /** Finishes what was asked before, refuses what is asked after, and frees the model. */
  close(): Promise<void>;
}
