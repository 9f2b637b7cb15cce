import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  type Dtype,
  numbersOf,
  scaleOf,
  shownVector,
  vectorBytes,
  writeBytes,
  writeMade,
  writeNumbers,
} from '../../src/store/dtype.ts';
import { Widening } from '../../src/store/widening.ts';

function vectorOf(numbers: readonly number[], scale: number): Uint8Array {
  const out = new Uint8Array(vectorBytes(numbers.length, 'int8'));
  writeNumbers(numbers, numbers.length, 'int8', out, scale);
  return out;
}

function wideOf(vector: Uint8Array, dim: number, dtype: Dtype): Float32Array {
  const widening = new Widening(dim, dtype);
  widening.vector.set(vector);
  const out = new Float32Array(dim + 2);
  widening.write(out, 1);
  return out.subarray(1, dim + 1);
}

test('an int8 vector is its numbers, a byte each, and behind them its scale', () => {
  const vector = vectorOf([1, -1, 127, -128, -0], 0.5);
  expect(Buffer.from(vector).toString('hex')).toBe('01ff7f80000000003f');
  expect(shownVector(vector, 5, 'int8')).toEqual({ vector: [1, -1, 127, -128, 0], scale: 0.5 });
  expect([...wideOf(vector, 5, 'int8')]).toEqual([0.5, -0.5, 63.5, -64, 0]);
});

test('a scale is rounded once, to float32 (A14)', () => {
  expect(scaleOf(vectorOf([1], 0.1))).toBe(Math.fround(0.1));
});

test.each([
  [[0.5, 1], 1, 'got 0.5 at position 0, expected a whole number from -128 to 127'],
  [[1, 128], 1, 'got 128 at position 1'],
  [[1, -129], 1, 'got -129 at position 1'],
  [[1, Number.NaN], 1, 'got NaN at position 1'],
  [[1], 1, 'got 1 numbers, expected 2'],
  [[1, 2], undefined, 'got no scale, expected one beside the numbers'],
  [[1, 2], 0, 'got the scale 0, expected a number greater than zero'],
  [[1, 2], -1, 'got the scale -1'],
  [[1, 2], Number.NaN, 'got the scale NaN'],
  [[1, 2], Infinity, 'got the scale Infinity'],
  [[1, 2], 1e-46, 'got the scale 1e-46'],
  [[1, 2], 1e37, 'got the scale 1e+37'],
])('the numbers %j of scale %s are refused for int8: %s (A14)', (numbers, scale, message) => {
  const out = new Uint8Array(vectorBytes(2, 'int8'));
  expect(() => writeNumbers(numbers, 2, 'int8', out, scale)).toThrow(message);
});

test('a scale is refused for the other dtypes, and bytes of another length for int8 (A14)', () => {
  const out = new Uint8Array(8);
  expect(() => writeNumbers([1, 2], 2, 'float32', out, 1)).toThrow('got a scale, expected none');
  expect(() => writeBytes(new Uint8Array(4), 2, 'float16', out, 1)).toThrow('expected none');
  const bytes = new Uint8Array(6);
  expect(() => writeBytes(bytes, 2, 'int8', out.subarray(2), 1)).toThrow('got 6 bytes, expected 2');
});

const scales = fc.float({
  min: Math.fround(2 ** -149),
  max: Math.fround(2 ** 120),
  noNaN: true,
});

test('an int8 vector as float32 is its numbers times its scale, each rounded once', () => {
  fc.assert(
    fc.property(fc.int8Array({ minLength: 1, maxLength: 9 }), scales, (numbers, scale) => {
      const vector = vectorOf([...numbers], scale);
      const expected = Float32Array.from(numbers, (number) => number * scale);
      expect(wideOf(vector, numbers.length, 'int8')).toEqual(expected);
      const bytes = new Uint8Array(vector.length);
      writeBytes(new Uint8Array(numbers.buffer), numbers.length, 'int8', bytes, scale);
      expect(bytes).toEqual(vector);
    }),
  );
});

test('every number of float16 is the same one as float32', () => {
  const bits = Uint16Array.from({ length: 2 ** 16 }, (_, at) => at);
  const halves = new Float16Array(bits.buffer).filter((half) => Number.isFinite(half));
  expect(halves).toHaveLength(2 ** 16 - 2 ** 11);
  const bytes = new Uint8Array(halves.buffer, 0, halves.byteLength);
  const wide = wideOf(bytes, halves.length, 'float16');
  // Both zeros are there, and are told apart.
  const same = wide.every((number, at) => Object.is(number, halves[at]));
  expect(same).toBe(true);
});

/** What becomes of a model's numbers. */
function made(values: readonly number[]) {
  const out = new Uint8Array(vectorBytes(values.length, 'int8'));
  writeMade(Float32Array.from(values), values.length, 'int8', out);
  return shownVector(out, values.length, 'int8');
}

test('what a model made is quantised by its greatest value, halves to the even number', () => {
  expect(made([127, 0.5, 1.5, -0.5, -1.5, 2.25, -127])).toEqual({
    vector: [127, 0, 2, 0, -2, 2, -127],
    scale: 1,
  });
  expect(made([-0.5, 0.25])).toEqual({ vector: [-127, 64], scale: Math.fround(0.5 / 127) });
  expect(made([0, 0])).toEqual({ vector: [0, 0], scale: 1 });
  expect(made([2 ** -149, 0])).toEqual({ vector: [1, 0], scale: 2 ** -149 });
  expect(() => made([Number.NaN, 1])).toThrow('got NaN at position 0');
});

test('numbers of int8 are read where they stand', () => {
  const vector = vectorOf([-3, 4], 2);
  expect(numbersOf(vector.subarray(0, 2), 'int8')).toEqual(Int8Array.of(-3, 4));
});
