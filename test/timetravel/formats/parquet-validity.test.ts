import { Int32, makeData } from 'apache-arrow';
import { expect, it } from 'vitest';

import { encodeValidity } from '../../../src/timetravel/formats/parquet-validity.ts';

/** Of rows of which only the third and the tenth are null. */
const BITS = Uint8Array.of(0b1111_1011, 0b1111_1101);

it.each<[string, number, number, number, number[]]>([
  ['one run where all rows are there', 0, 2, 0, [2, 0, 0, 0, 4, 1]],
  ['one run of many rows', 0, 200, 0, [3, 0, 0, 0, 0x90, 0x03, 1]],
  ['bits of eight rows a byte', 0, 16, 2, [3, 0, 0, 0, 5, 0b1111_1011, 0b1111_1101]],
  ['bits from within a byte on', 2, 11, 2, [3, 0, 0, 0, 5, 0b0111_1110, 0b0011_1111]],
  ['bits that end within the first byte', 1, 4, 1, [2, 0, 0, 0, 3, 0b1111_1101]],
])('which rows are there is told in a page of Parquet as %s', (_, from, to, nulls, bytes) => {
  const data = makeData({ type: new Int32(), length: 16, nullBitmap: BITS });
  expect([...encodeValidity(data, from, to, nulls)]).toEqual(bytes);
});
