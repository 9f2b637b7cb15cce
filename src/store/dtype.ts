import { TidemarkError } from '../ground/errors.ts';

/** How the numbers of a model version's vectors are stored; little-endian. */
export const DTYPES = ['float32', 'float16'] as const;
export type Dtype = (typeof DTYPES)[number];

export const DIM_MAX = 8_192;

function dtypeBytes(dtype: Dtype): number {
  return dtype === 'float32' ? 4 : 2;
}

/** Bytes of one vector. */
export function vectorBytes(dim: number, dtype: Dtype): number {
  return dim * dtypeBytes(dtype);
}

/** The numbers in `bytes` (a whole number of them, on a multiple of their size), without a copy. */
export function numbersOf(bytes: Uint8Array, dtype: Dtype): Float32Array | Float16Array {
  const count = bytes.byteLength / dtypeBytes(dtype);
  return dtype === 'float32'
    ? new Float32Array(bytes.buffer, bytes.byteOffset, count)
    : new Float16Array(bytes.buffer, bytes.byteOffset, count);
}

/**
 * Writes numbers as one vector: each is rounded once to the dtype (A14).
 * `out` has exactly one vector's bytes. Throws BAD_VECTOR for another dim, a NaN or an infinity,
 * and for a finite number that the dtype cannot hold.
 */
export function writeNumbers(
  numbers: ArrayLike<number>,
  dim: number,
  dtype: Dtype,
  out: Uint8Array,
): void {
  if (numbers.length !== dim) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${numbers.length} numbers, expected ${dim}, the version's dim`,
    );
  }
  const target = numbersOf(out, dtype);
  for (let at = 0; at < dim; at++) {
    const value = numbers[at]!;
    target[at] = value;
    if (!Number.isFinite(target[at])) {
      throw new TidemarkError(
        'BAD_VECTOR',
        Number.isFinite(value)
          ? `the number ${value} at position ${at} overflows ${dtype}`
          : `got ${value} at position ${at}, expected a finite number`,
      );
    }
  }
}

/**
 * Checks bytes that already are a vector of this dtype and copies them to `out` (A14).
 * Throws BAD_VECTOR for another length and for NaN or infinity.
 */
export function writeBytes(bytes: Uint8Array, dim: number, dtype: Dtype, out: Uint8Array): void {
  if (bytes.byteLength !== vectorBytes(dim, dtype)) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${bytes.byteLength} bytes, expected ${vectorBytes(dim, dtype)}: ${dim} little-endian ${dtype}`,
    );
  }
  out.set(bytes);
  const numbers = numbersOf(out, dtype);
  for (let at = 0; at < dim; at++) {
    if (!Number.isFinite(numbers[at])) {
      throw new TidemarkError(
        'BAD_VECTOR',
        `got ${numbers[at]} at position ${at}, expected a finite number`,
      );
    }
  }
}
