import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodeLevels } from '../../../src/timetravel/formats/parquet-levels.ts';

/** Reads runs as Parquet's specification has them, one level after another. */
function decodeRuns(bytes: Uint8Array): number[] {
  const levels: number[] = [];
  for (let at = 0; at < bytes.length;) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      header |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    expect(header & 1, 'a run, not packed bits').toBe(0);
    const level = bytes[at++]!;
    for (let count = header >> 1; count > 0; count--) levels.push(level);
  }
  return levels;
}

function decodeLevels(bytes: Uint8Array): { repetition: number[]; definition: number[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const middle = 4 + view.getUint32(0, true);
  expect(middle + 4 + view.getUint32(middle, true)).toBe(bytes.byteLength);
  return {
    repetition: decodeRuns(bytes.subarray(4, middle)),
    definition: decodeRuns(bytes.subarray(middle + 4)),
  };
}

describe('the levels of a page of vectors', () => {
  it.each([
    ['one vector of three', [1], 3, [4, 0, 0, 0, 2, 0, 4, 1, 2, 0, 0, 0, 6, 2]],
    ['two of one number', [1, 1], 1, [2, 0, 0, 0, 4, 0, 2, 0, 0, 0, 4, 2]],
    ['none', [0, 0], 3, [2, 0, 0, 0, 4, 0, 2, 0, 0, 0, 4, 0]],
    [
      'one that is missing, then two',
      [0, 1, 1],
      2,
      [10, 0, 0, 0, 2, 0, 2, 0, 2, 1, 2, 0, 2, 1, 4, 0, 0, 0, 2, 0, 8, 2],
    ],
    [
      'one of 129: a run whose length has two bytes',
      [1],
      129,
      [5, 0, 0, 0, 2, 0, 0x80, 0x02, 1, 3, 0, 0, 0, 0x82, 0x02, 2],
    ],
    ['no row', [], 3, [0, 0, 0, 0, 0, 0, 0, 0]],
  ])('are, of %s', (_, valid, dim, bytes) => {
    expect([...encodeLevels(Uint8Array.from(valid), dim)]).toEqual(bytes);
  });

  it('tell of each row whether it is there, and where the next begins', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 200 }),
        fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 8_192 })),
        (valid, dim) => {
          const present = Array.from({ length: dim }, (_, at) => Math.min(at, 1));
          const twos = Array.from({ length: dim }, () => 2);
          expect(decodeLevels(encodeLevels(Uint8Array.from(valid), dim))).toEqual({
            repetition: valid.flatMap((is) => (is === 1 ? present : [0])),
            definition: valid.flatMap((is) => (is === 1 ? twos : [0])),
          });
        },
      ),
      { numRuns: 50 },
    );
  });
});
