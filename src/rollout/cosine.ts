type Numbers = Float32Array | Float64Array;

/** The cosine of the angle between two vectors of one dim; 0 where one of them has no length. */
export function cosine(a: Numbers, b: Numbers): number {
  let [dot, left, right] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    dot += a[at]! * b[at]!;
    left += a[at]! ** 2;
    right += b[at]! ** 2;
  }
  const both = Math.sqrt(left * right);
  return both === 0 ? 0 : dot / both;
}
