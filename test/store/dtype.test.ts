import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  type Dtype,
  numbersOf,
  vectorBytes,
  writeBytes,
  writeNumbers,
} from '../../src/store/dtype.ts';

function written(numbers: number[], dtype: Dtype): number[] {
  const out = new Uint8Array(vectorBytes(numbers.length, dtype));
  writeNumbers(numbers, numbers.length, dtype, out);
  return Array.from(numbersOf(out, dtype));
}

test('a number is rounded once, from double to the dtype (A14)', () => {
  expect(written([0.1], 'float32')).toEqual([Math.fround(0.1)]);
  expect(written([0.1], 'float16')).toEqual([0.0999755859375]);
  // Just above the middle of two halves: by way of float32 it would fall on the middle, and down.
  const double = 1 + 2 ** -11 + 2 ** -40;
  expect(written([double], 'float16')).toEqual([1 + 2 ** -10]);
});

test.each([
  [[1, Number.NaN], 'float32', 'got NaN at position 1'],
  [[Infinity, 1], 'float32', 'got Infinity at position 0'],
  [[1, 1e39], 'float32', 'overflows float32'],
  [[1, 65_520], 'float16', 'overflows float16'],
  [[1], 'float32', 'got 1 numbers, expected 2'],
  [[1, 2, 3], 'float32', 'got 3 numbers, expected 2'],
] as const)('the vector %j is refused for %s: %s (A14)', (numbers, dtype, message) => {
  const out = new Uint8Array(vectorBytes(2, dtype));
  expect(() => writeNumbers(numbers, 2, dtype, out)).toThrow(message);
});

test('bytes of another length, and bytes that are NaN or infinity, are refused (A14)', () => {
  const out = new Uint8Array(8);
  expect(() => writeBytes(new Uint8Array(4), 2, 'float32', out)).toThrow('got 4 bytes, expected 8');
  const nan = new Uint8Array(new Float32Array([1, Number.NaN]).buffer);
  expect(() => writeBytes(nan, 2, 'float32', out)).toThrow('NaN at position 1');
});

test('what is not finite is refused wherever it stands, and the greatest numbers are not (A14)', () => {
  const greatest = { float32: 3.4028234663852886e38, float16: 65_504 } as const;
  for (const [dtype, most] of Object.entries(greatest) as [keyof typeof greatest, number][]) {
    for (let dim = 1; dim <= 9; dim++) {
      const numbers = dtype === 'float32' ? new Float32Array(dim) : new Float16Array(dim);
      const bytes = new Uint8Array(numbers.buffer);
      const out = new Uint8Array(bytes.byteLength);
      numbers.fill(most);
      numbers[0] = -most;
      expect(() => writeBytes(bytes, dim, dtype, out)).not.toThrow();
      for (let at = 0; at < dim; at++) {
        for (const bad of [Number.NaN, Infinity, -Infinity]) {
          const before = numbers[at]!;
          numbers[at] = bad;
          const said = `got ${bad} at position ${at}`;
          expect(() => writeBytes(bytes, dim, dtype, out)).toThrow(said);
          numbers[at] = before;
        }
      }
    }
  }
});

test('bytes come back as they were given', () => {
  fc.assert(
    fc.property(fc.float32Array({ noNaN: true, noDefaultInfinity: true }), (numbers) => {
      const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
      const out = new Uint8Array(bytes.byteLength);
      writeBytes(bytes, numbers.length, 'float32', out);
      expect(out).toEqual(new Uint8Array(bytes));
    }),
  );
});
