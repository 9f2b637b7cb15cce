import fc from 'fast-check';
import { expect, test } from 'vitest';

import { radixOrder } from '../../src/store/radix-order.ts';
import { seeded } from '../model/random.ts';

/** The same by comparing, which JavaScript does in a stable way. */
function naiveOrder(keys: Float64Array): number[] {
  return Array.from(keys.keys()).toSorted((a, b) => keys[a]! - keys[b]!);
}

/** More keys than are compared, each of them one of `few`. */
function manyOf(few: readonly number[], seed: number): Float64Array {
  const random = seeded(seed);
  return Float64Array.from({ length: 1_000 }, () => few[random(few.length)]!);
}

test.each<[string, number[]]>([
  ['nothing', []],
  ['one key', [7]],
  ['keys in order', [1, 2, 2, 3]],
  ['keys in the other order', [3, 2, 1]],
  ['equal keys, which keep their order', [2, 1, 2, 1, 2, 1]],
  ['negative keys', [0, -1, 1, -(2 ** 53) + 1, 2 ** 53 - 1]],
])('the order of %s is that of comparing', (_, keys) => {
  expect([...radixOrder(Float64Array.from(keys))]).toEqual(naiveOrder(Float64Array.from(keys)));
});

test.each<[string, number[]]>([
  ['differ in their last bit alone', [2 ** 52, 2 ** 52 + 1]],
  ['differ in their first bit alone', [0, 2 ** 52]],
  ['are as far apart as times can be', [-(2 ** 53) + 1, -(2 ** 53) + 2, 2 ** 53 - 2, 2 ** 53 - 1]],
  ['lie around a whole number of digits', [2 ** 22 - 1, 2 ** 22, 2 ** 22 + 1, 2 ** 33, 2 ** 44]],
  ['are negative', [-1, -2, -(2 ** 11), -(2 ** 31), -(2 ** 32) - 1]],
])('many keys that %s come in their order, equal ones in the one they had', (_, few) => {
  const keys = manyOf(few, few.length);
  expect([...radixOrder(keys)]).toEqual(naiveOrder(keys));
});

test('any keys come in the order of comparing, and are left as they were', () => {
  const bits = fc.integer({ min: 1, max: 53 });
  fc.assert(
    fc.property(bits, fc.nat(), fc.integer({ min: 0, max: 1_500 }), (width, seed, length) => {
      const random = seeded(seed);
      const base = random(3) * 1_000 - 1_000;
      const keys = Float64Array.from({ length }, () => {
        const key = Math.floor((random(2 ** 31) / 2 ** 31) * 2 ** width) - 2 ** (width - 1);
        return key + base;
      });
      const before = keys.slice();
      expect([...radixOrder(keys)]).toEqual(naiveOrder(keys));
      expect(keys).toEqual(before);
    }),
    { numRuns: 60 },
  );
});
