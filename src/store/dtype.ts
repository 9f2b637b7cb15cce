import { TidemarkError } from '../ground/errors.ts';

/**
 * How the numbers of a model version's vectors are stored; little-endian. One of int8 stands for
 * itself times the scale of its vector, a float32 that is stored behind the numbers:
 *
 * bytes    field
 * 0        dim numbers
 * dim  f32 of int8: the scale, greater than zero
 */
export const DTYPES = ['float32', 'float16', 'int8'] as const;
export type Dtype = (typeof DTYPES)[number];
export type Numbers = Float32Array | Float16Array | Int8Array;

export const DIM_MAX = 8_192;

const NUMBER_BYTES = { float32: 4, float16: 2, int8: 1 } as const;
const SCALE_BYTES = 4;
const INT8_MIN = -128;
const INT8_MAX = 127;
/** The least number of float32 above zero. */
const FLOAT32_LEAST = 2 ** -149;

/** Bytes of the numbers of one vector. */
export function numberBytes(dim: number, dtype: Dtype): number {
  return dim * NUMBER_BYTES[dtype];
}

/** Bytes of one vector as it is stored: its numbers and, of int8, their scale. */
export function vectorBytes(dim: number, dtype: Dtype): number {
  return numberBytes(dim, dtype) + (dtype === 'int8' ? SCALE_BYTES : 0);
}

/** The numbers in `bytes` (a whole number of them, on a multiple of their size), without a copy. */
export function numbersOf(bytes: Uint8Array, dtype: Dtype): Numbers {
  const { buffer, byteOffset } = bytes;
  const count = bytes.byteLength / NUMBER_BYTES[dtype];
  if (dtype === 'float32') return new Float32Array(buffer, byteOffset, count);
  if (dtype === 'float16') return new Float16Array(buffer, byteOffset, count);
  return new Int8Array(buffer, byteOffset, count);
}

/** So many of them, from one on, as JSON takes them: by `Array.from` it would take four times as long. */
export function plainNumbers(numbers: Numbers, from: number, count: number): number[] {
  const plain: number[] = [];
  for (let at = from; at < from + count; at++) plain.push(numbers[at]!);
  return plain;
}

/** The scale behind the numbers of a stored vector of int8. */
export function scaleOf(vector: Uint8Array): number {
  const { buffer, byteOffset, byteLength } = vector;
  return new DataView(buffer, byteOffset).getFloat32(byteLength - SCALE_BYTES, true);
}

/** A stored vector as people read it: its numbers and, of int8, the scale. */
export function shownVector(
  vector: Uint8Array,
  dim: number,
  dtype: Dtype,
): { vector: number[]; scale?: number } {
  const numbers = numbersOf(vector.subarray(0, numberBytes(dim, dtype)), dtype);
  return {
    vector: plainNumbers(numbers, 0, dim),
    ...(dtype === 'int8' && { scale: scaleOf(vector) }),
  };
}

/**
 * Writes numbers as one vector: each is rounded once to the dtype (A14). Those of int8 are whole, and
 * come with their scale: nothing is quantised here.
 * `out` has exactly one vector's bytes. Throws BAD_VECTOR for another dim, a NaN or an infinity,
 * and for a finite number that the dtype cannot hold.
 */
export function writeNumbers(
  numbers: ArrayLike<number>,
  dim: number,
  dtype: Dtype,
  out: Uint8Array,
  scale?: number,
): void {
  if (numbers.length !== dim) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${numbers.length} numbers, expected ${dim}, the version's dim`,
    );
  }
  writeScale(scale, dim, dtype, out);
  if (dtype === 'int8') {
    writeWhole(numbers, out);
    return;
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
 * Checks bytes that already are the numbers of this dtype and copies them to `out` (A14); those of
 * int8 come with their scale. Throws BAD_VECTOR for another length, for NaN or infinity, and for a
 * scale that is none.
 */
export function writeBytes(
  bytes: Uint8Array,
  dim: number,
  dtype: Dtype,
  out: Uint8Array,
  scale?: number,
): void {
  if (bytes.byteLength !== numberBytes(dim, dtype)) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${bytes.byteLength} bytes, expected ${numberBytes(dim, dtype)}: ${dim} little-endian ${dtype}`,
    );
  }
  writeScale(scale, dim, dtype, out);
  out.set(bytes);
  if (dtype === 'int8') return;
  const numbers = numbersOf(out, dtype);
  if (areFinite(numbers)) return;
  const at = numbers.findIndex((value) => !Number.isFinite(value));
  throw new TidemarkError(
    'BAD_VECTOR',
    `got ${numbers[at]} at position ${at}, expected a finite number`,
  );
}

/** Zero times what is not finite is NaN, which stays in a sum. Four sums do not wait for each other. */
function areFinite(numbers: Numbers): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = numbers.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    a += numbers[at]! * 0;
    b += numbers[at + 1]! * 0;
    c += numbers[at + 2]! * 0;
    d += numbers[at + 3]! * 0;
  }
  for (let at = whole; at < numbers.length; at++) a += numbers[at]! * 0;
  return a + b + c + d === 0;
}

/**
 * Writes a vector that a model made, in the dtype that its version was given. For int8 it is quantised:
 * the scale is the greatest absolute value / 127, and a number is its value / scale, rounded to the
 * nearest whole number, a half to the even one. Throws BAD_VECTOR as `writeNumbers`.
 */
export function writeMade(values: Float32Array, dim: number, dtype: Dtype, out: Uint8Array): void {
  if (dtype !== 'int8') {
    writeNumbers(values, dim, dtype, out);
    return;
  }
  // What float32 refuses is refused here, too.
  writeNumbers(values, dim, 'float32', new Uint8Array(numberBytes(dim, 'float32')));
  const greatest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const step = Math.max(Math.fround(greatest / INT8_MAX), FLOAT32_LEAST);
  const scale = greatest === 0 ? 1 : step;
  const whole = values.map((value) =>
    Math.max(-INT8_MAX, Math.min(INT8_MAX, roundEven(value / scale))),
  );
  writeNumbers(whole, dim, dtype, out, scale);
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

function writeWhole(numbers: ArrayLike<number>, out: Uint8Array): void {
  for (let at = 0; at < numbers.length; at++) {
    const value = numbers[at]!;
    if (!Number.isInteger(value) || value < INT8_MIN || value > INT8_MAX) {
      throw new TidemarkError(
        'BAD_VECTOR',
        `got ${value} at position ${at}, expected a whole number from ${INT8_MIN} to ${INT8_MAX}: ` +
          'the version is of int8, and numbers are quantised by who sends them, with their scale',
      );
    }
    out[at] = value;
  }
}

/** Writes the scale where it stands. Throws BAD_VECTOR where it is missing, none, or not wanted. */
function writeScale(scale: number | undefined, dim: number, dtype: Dtype, out: Uint8Array): void {
  if (dtype !== 'int8') {
    if (scale === undefined) return;
    throw new TidemarkError('BAD_VECTOR', `got a scale, expected none: the version is of ${dtype}`);
  }
  if (scale === undefined) {
    throw new TidemarkError(
      'BAD_VECTOR',
      'got no scale, expected one beside the numbers: the version is of int8, where a number ' +
        'stands for itself times the scale; nothing is quantised here',
    );
  }
  const stored = Math.fround(scale);
  if (!(stored > 0) || !Number.isFinite(Math.fround(stored * INT8_MIN))) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got the scale ${scale}, expected a number greater than zero of which float32 holds it and 128 times it`,
    );
  }
  const { buffer, byteOffset } = out;
  new DataView(buffer, byteOffset).setFloat32(numberBytes(dim, dtype), stored, true);
}
