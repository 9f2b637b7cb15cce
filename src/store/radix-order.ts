const DIGIT_BITS = 11;
const BUCKETS = 2 ** DIGIT_BITS;
/** Below this, comparing is faster than counting. */
const FEW = 256;

/**
 * The indices of `keys`, whole numbers within ±2⁵³, in ascending order of their keys; equal keys keep
 * their order. Least digit first, as many digits as the keys differ in.
 */
export function radixOrder(keys: Float64Array): Int32Array {
  const { length } = keys;
  let order = new Int32Array(length);
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  let isSorted = true;
  for (let at = 0; at < length; at++) {
    const key = keys[at]!;
    order[at] = at;
    if (key < least) least = key;
    if (key >= most) most = key;
    else isSorted = false;
  }
  if (isSorted) return order;
  const range = most - least;
  // Beyond that the difference of two keys is not a number of JavaScript.
  if (length < FEW || range > Number.MAX_SAFE_INTEGER) {
    return order.toSorted((a, b) => keys[a]! - keys[b]! || a - b);
  }
  let other = new Int32Array(length);
  const digits = new Uint16Array(length);
  const counts = new Int32Array(BUCKETS);
  for (let unit = 1; unit <= range; unit *= BUCKETS) {
    // A power of two: exact. What is behind the point, and above 32 bits, the mask cuts off.
    const scale = 1 / unit;
    counts.fill(0);
    for (let at = 0; at < length; at++) {
      const digit = ((keys[at]! - least) * scale) & (BUCKETS - 1);
      digits[at] = digit;
      counts[digit]!++;
    }
    let before = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = counts[bucket]!;
      counts[bucket] = before;
      before += count;
    }
    for (let at = 0; at < length; at++) {
      const row = order[at]!;
      other[counts[digits[row]!]!++] = row;
    }
    [order, other] = [other, order];
  }
  return order;
}
