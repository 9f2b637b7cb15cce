/** Chooses one of the numbers from 0 on. */
export type Choice = (random: () => number) => number;

/** That of YCSB; one in n is asked for about n^−0.99 as often as the first. */
export const ZIPF_EXPONENT = 0.99;

/** Any of `count` as often as any other. */
export function uniform(count: number): Choice {
  return (random) => Math.floor(random() * count);
}

/**
 * Of `count`, the one of rank r with a weight of r^−exponent, exactly: by bisection of the sums of
 * all weights. Ranks are spread over the numbers, so that what is popular does not lie together.
 */
export function zipf(count: number, exponent = ZIPF_EXPONENT): Choice {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 1; rank <= count; rank++) {
    sum += rank ** -exponent;
    sums[rank - 1] = sum;
  }
  const stride = strideOf(count);
  return (random) => {
    const wanted = random() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return (low * stride) % count;
  };
}

/** So many different ones, as a ranking service asks: each candidate once. */
export function distinct(choice: Choice, random: () => number, count: number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(choice(random));
  return [...chosen];
}

/** A step that visits all of `count` before it comes back. */
function strideOf(count: number): number {
  let stride = Math.max(1, Math.floor(count * 0.618));
  while (divisor(stride, count) !== 1) stride++;
  return stride;
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}
