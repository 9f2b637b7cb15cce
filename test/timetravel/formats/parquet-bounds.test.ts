import { Utf8, vectorFromArray } from 'apache-arrow';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  type FixedValues,
  numberBounds,
  textBounds,
} from '../../../src/timetravel/formats/parquet-bounds.ts';
import { textsOf } from '../../../src/timetravel/spine/column.ts';

/** The two numbers as an array of the same kind. */
function boundsOf(values: FixedValues): (number | bigint | undefined)[] {
  const { least, greatest } = numberBounds(values)!;
  const pair = values.slice(0, 2);
  new Uint8Array(pair.buffer).set([...least, ...greatest]);
  return [...pair];
}

function textsBetween(texts: readonly (string | null)[]) {
  const data = vectorFromArray(texts, new Utf8()).data[0]!;
  const bounds = textBounds(textsOf(data, 'texts'), data, 0, texts.length, data.nullCount);
  return (
    bounds && {
      ...bounds,
      least: Buffer.from(bounds.least).toString(),
      greatest: Buffer.from(bounds.greatest).toString(),
    }
  );
}

describe('the bounds of numbers', () => {
  it.each<[string, FixedValues, (number | bigint)[]]>([
    ['whole numbers', Int32Array.of(3, -7, 5, 0), [-7, 5]],
    ['unsigned ones', Uint32Array.of(3, 2 ** 32 - 1, 7), [3, 2 ** 32 - 1]],
    [
      'long ones',
      BigInt64Array.of(3n, -(2n ** 63n), 2n ** 62n + 1n),
      [-(2n ** 63n), 2n ** 62n + 1n],
    ],
    ['long unsigned ones', BigUint64Array.of(2n ** 64n - 1n, 1n), [1n, 2n ** 64n - 1n]],
    ['infinities', Float32Array.of(1.5, -Infinity, Infinity), [-Infinity, Infinity]],
    ['a least zero, which may be either', Float64Array.of(0, 2), [-0, 2]],
    ['a greatest zero, which may be either', Float64Array.of(-2, -0), [-2, 0]],
    ['nothing but zeros', Float32Array.of(0, -0), [-0, 0]],
  ])('are, of %s', (_, values, bounds) => {
    expect(boundsOf(values)).toEqual(bounds);
  });

  it('are not told where a number is none, or no number is there', () => {
    expect(numberBounds(Float64Array.of(1, NaN, 2))).toBeUndefined();
    expect(numberBounds(Float32Array.of(NaN))).toBeUndefined();
    expect(numberBounds(new Int32Array(0))).toBeUndefined();
    expect(numberBounds(new BigInt64Array(0))).toBeUndefined();
  });
});

describe('the bounds of texts', () => {
  it.each<[string, (string | null)[], string, string]>([
    ['one text', ['b'], 'b', 'b'],
    ['an empty one', ['a', '', null], '', 'a'],
    [
      'texts of which one begins with the other',
      ['member-1', 'member-', 'member'],
      'member',
      'member-1',
    ],
    ['letters of several bytes, by their code', ['é', 'z', '𝄞', '￿'], 'z', '𝄞'],
  ])('are, of %s', (_, texts, least, greatest) => {
    const exact = { isLeastExact: true, isGreatestExact: true };
    expect(textsBetween(texts)).toEqual({ least, greatest, ...exact });
  });

  it.each([
    ['whole letters', `${'a'.repeat(63)}é`, 'a'.repeat(63), `${'a'.repeat(62)}b`],
    [
      'no letters that are none',
      '\ud7ff'.repeat(30),
      '\ud7ff'.repeat(21),
      `${'\ud7ff'.repeat(20)}\ue000`,
    ],
    [
      'a letter before the last of all',
      `b${'\u{10ffff}'.repeat(20)}`,
      `b${'\u{10ffff}'.repeat(15)}`,
      'c',
    ],
  ])('are told from the first bytes of long texts: %s', (_, text, least, greatest) => {
    const exact = { isLeastExact: false, isGreatestExact: false };
    expect(textsBetween([text])).toEqual({ least, greatest, ...exact });
  });

  it('are not told where no text is there, or none comes after', () => {
    expect(textsBetween([null, null])).toBeUndefined();
    expect(textsBetween(['\u{10ffff}'.repeat(20)])).toBeUndefined();
  });

  it('have all texts between them, and are texts of theirs where they say so', () => {
    const letter = fc.constantFrom('a', 'b', '', '\u007f', 'é', '\ud7ff', '￿', '𝄞');
    const text = fc.array(letter, { maxLength: 30 }).map((letters) => letters.join(''));
    const long = fc.tuple(fc.constantFrom('', 'a'.repeat(60), 'é'.repeat(31)), text);
    fc.assert(
      fc.property(
        fc.array(
          long.map((parts) => parts.join('')),
          { minLength: 1 },
        ),
        (texts) => {
          const ordered = texts
            .map((one) => Buffer.from(one))
            .toSorted((a, b) => Buffer.compare(a, b));
          const bounds = textsBetween(texts)!;
          const [least, greatest] = [Buffer.from(bounds.least), Buffer.from(bounds.greatest)];
          const first = Buffer.compare(least, ordered[0]!);
          const last = Buffer.compare(greatest, ordered.at(-1)!);
          expect(bounds.isLeastExact ? first === 0 : first < 0).toBe(true);
          expect(bounds.isGreatestExact ? last === 0 : last > 0).toBe(true);
          expect(Math.max(least.length, greatest.length)).toBeLessThanOrEqual(68);
        },
      ),
    );
  });
});
