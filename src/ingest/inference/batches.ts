/** How much one run of the graph may hold. */
export interface BatchLimits {
  /** Texts in a batch. */
  rowsMax: number;
  /** Rows times the longest row: the memory and the time of a run go with it. */
  paddedTokensMax: number;
}

/**
 * Which texts run together: indices into `lengths` (tokens of each text), the longest first, so
 * that texts of like length share a batch and little of it is padding. A text longer than
 * `paddedTokensMax` runs alone.
 */
export function planBatches(lengths: readonly number[], limits: BatchLimits): number[][] {
  const order = lengths
    .map((length, index) => ({ length, index }))
    .toSorted((a, b) => b.length - a.length || a.index - b.index);
  const batches: number[][] = [];
  let batch: number[] = [];
  let longest = 0;
  for (const { length, index } of order) {
    const full =
      batch.length >= limits.rowsMax || (batch.length + 1) * longest > limits.paddedTokensMax;
    if (batch.length === 0 || full) {
      batch = [];
      batches.push(batch);
      longest = length;
    }
    batch.push(index);
  }
  return batches;
}
