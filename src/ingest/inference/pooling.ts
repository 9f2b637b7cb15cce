/** The hidden states of a batch: `rows` × `tokens` × `dim` float32, row after row. */
export interface Hidden {
  data: Float32Array;
  tokens: number;
  dim: number;
}

/** Writes the mean of a row's first `length` tokens (the rest is padding) to `into`, of dim. */
export function poolMean(hidden: Hidden, row: number, length: number, into: Float32Array): void {
  const { data, tokens, dim } = hidden;
  // Summed in float64: 256 tokens of like size cost bits in float32.
  const sum = new Float64Array(dim);
  for (let token = 0; token < length; token++) {
    const start = (row * tokens + token) * dim;
    for (let i = 0; i < dim; i++) sum[i] = (sum[i] ?? 0) + (data[start + i] ?? 0);
  }
  for (let i = 0; i < dim; i++) into[i] = (sum[i] ?? 0) / length;
}

/** Writes a row's first token, which BERT-like models train to stand for the text, to `into`. */
export function poolFirst(hidden: Hidden, row: number, into: Float32Array): void {
  const start = row * hidden.tokens * hidden.dim;
  into.set(hidden.data.subarray(start, start + hidden.dim));
}

/**
 * Writes the last of a row's first `length` tokens to `into`: in a decoder it alone has read the
 * whole text.
 */
export function poolLast(hidden: Hidden, row: number, length: number, into: Float32Array): void {
  const start = (row * hidden.tokens + length - 1) * hidden.dim;
  into.set(hidden.data.subarray(start, start + hidden.dim));
}

/** The Euclidean length of a vector: NaN or infinite when one of its numbers is. */
export function normOf(vector: Float32Array): number {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}

/** Divides the vector by `norm`, in place. */
export function scaleTo(vector: Float32Array, norm: number): void {
  for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] ?? 0) / norm;
}
