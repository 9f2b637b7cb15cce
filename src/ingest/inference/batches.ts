/** How much one run of the graph may hold. */
export interface BatchLimits {
  /** Texts in a batch. */
  rowsMax: number;
  /** Rows times the longest row: the memory and the time of a run go with it. */
  paddedTokensMax: number;
}

// What a run costs beside its tokens, as a part of the most tokens that it may hold: a batch of a
// few short texts is not worth a run of its own where others can join at the price of some padding.
const RUN_COST = 1 / 64;

/**
 * Which of the texts that wait run next: indices into `lengths`, tokens of each text in the order
 * of their arrival. The first one is always among them, and of the others those that are nearest
 * to it in length, so that few of the batch's tokens are padding. A text longer than
 * `paddedTokensMax` runs alone.
 */
export function cutBatch(
  lengths: readonly number[],
  { rowsMax, paddedTokensMax }: BatchLimits,
): number[] {
  const order = [...lengths.keys()].toSorted((a, b) => lengths[b]! - lengths[a]! || a - b);
  const oldest = order.indexOf(0);
  const runCost = paddedTokensMax * RUN_COST;
  let best = { worth: 0, from: oldest, to: oldest + 1 };
  // Texts that share a batch are neighbours by length: every such stretch that has the oldest in it.
  for (let from = Math.max(0, oldest - rowsMax + 1); from <= oldest; from++) {
    const longest = lengths[order[from]!]!;
    const fitting = Math.min(rowsMax, Math.floor(paddedTokensMax / longest));
    const end = Math.min(order.length, from + fitting);
    let tokens = 0;
    for (let to = from + 1; to <= end; to++) {
      tokens += lengths[order[to - 1]!]!;
      const worth = tokens / (runCost + (to - from) * longest);
      if (to > oldest && worth > best.worth) best = { worth, from, to };
    }
  }
  return order.slice(best.from, best.to);
}
