import {
  Dictionary,
  Float64,
  Int16,
  Int32,
  Int64,
  Int8,
  LargeUtf8,
  makeData,
  Uint16,
  Uint32,
  Uint64,
  Uint8,
  Utf8,
  Vector,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { isEntityId } from '../../../src/store/entity-id.ts';
import { idsOf } from '../../../src/timetravel/spine/ids.ts';
import { windowWith } from './spine.ts';

/** The id of each row; undefined where it has none. */
function idsIn(column: Vector): (string | undefined)[] {
  const { ids, ordinals } = idsOf(windowWith({ id: column }), 'id');
  expect(new Set(ids).size).toBe(ids.length);
  return Array.from(ordinals, (ordinal) => ids[ordinal]);
}

test.each([
  ['utf8', new Utf8()],
  ['large_utf8', new LargeUtf8()],
  ['dictionary', new Dictionary(new Utf8(), new Int32())],
])('equal texts of %s are one id, nulls are none', (_name, type) => {
  const column = vectorFromArray(['b', 'a', null, 'b', 'ä😀', 'a'], type);
  expect(idsIn(column)).toEqual(['b', 'a', undefined, 'b', 'ä😀', 'a']);
});

test('a column of texts without nulls has ids in the order in which they first come', () => {
  const { ids, ordinals } = idsOf(
    windowWith({ id: vectorFromArray(['x', 'y', 'x'], new Utf8()) }),
    'id',
  );
  expect([ids, [...ordinals]]).toEqual([
    ['x', 'y'],
    [0, 1, 0],
  ]);
});

test.each([
  [new Int8(), [-128, 127]],
  [new Int16(), [-32_768, 32_767]],
  [new Int32(), [-(2 ** 31), 2 ** 31 - 1]],
  [new Uint8(), [0, 255]],
  [new Uint16(), [0, 65_535]],
  [new Uint32(), [0, 2 ** 32 - 1]],
])('whole numbers of %s equal their decimal text', (type, values) => {
  const expected = [String(values[0]), undefined, String(values[1]), String(values[0])];
  expect(idsIn(vectorFromArray([values[0], null, values[1], values[0]], type))).toEqual(expected);
});

test('whole numbers of 64 bits are ids within ±2^53, and none beyond', () => {
  const signed = [
    2n ** 53n - 1n,
    2n ** 53n,
    1n - 2n ** 53n,
    -(2n ** 53n),
    -1n,
    null,
    2n ** 63n - 1n,
  ];
  expect(idsIn(vectorFromArray(signed, new Int64()))).toEqual([
    '9007199254740991',
    undefined,
    '-9007199254740991',
    undefined,
    '-1',
    undefined,
    undefined,
  ]);
  expect(idsIn(vectorFromArray([2n ** 64n - 1n, 7n], new Uint64()))).toEqual([undefined, '7']);
});

test('texts that no entity can be called are none: empty, NUL, too long', () => {
  const long = 'x'.repeat(1_024);
  const column = vectorFromArray(['', 'a\0', long, `${long}x`, 'é'.repeat(513)], new Utf8());
  expect(idsIn(column)).toEqual([undefined, undefined, long, undefined, undefined]);
});

test('bytes that are not UTF-8 are no id, and no other id for it', () => {
  const data = Buffer.from([0xff, 0xfe, 0x61, 0xef, 0xbf, 0xbd]);
  const column = new Vector([
    makeData({
      type: new Utf8(),
      length: 4,
      nullCount: 0,
      valueOffsets: new Int32Array([0, 1, 2, 3, 6]),
      data,
    }),
  ]);
  expect(idsIn(column)).toEqual([undefined, undefined, 'a', '\uFFFD']);
});

test('the rows of a slice are those of the slice', () => {
  const texts = vectorFromArray(['a', null, 'b', 'a', null, 'c', 'b', 'a', 'b', 'c'], new Utf8());
  const numbers = vectorFromArray([1n, null, 2n, 1n, null, 3n], new Int64());
  expect(idsIn(texts.slice(3, 9))).toEqual(['a', undefined, 'c', 'b', 'a', 'b']);
  expect(idsIn(numbers.slice(1, 5))).toEqual([undefined, '2', '1', undefined]);
});

test('a column that is not there is refused with the columns that there are', () => {
  const window = windowWith({
    job: vectorFromArray(['a'], new Utf8()),
    at: vectorFromArray(['b'], new Utf8()),
  });
  expect(() => idsOf(window, 'job_id')).toThrow(
    'the spine has no column job_id; it has job, at: say which one is meant with timestamp_column or id_columns',
  );
});

test('a column whose type no id can have is refused with its type', () => {
  const window = windowWith({ id: vectorFromArray([1.5], new Float64()) });
  expect(() => idsOf(window, 'id')).toThrow(
    'column id is Float64, expected entity ids as texts or whole numbers',
  );
});

test.each([
  ['offsets that fall', new Int32Array([0, 2, 1])],
  ['offsets beyond the bytes', new Int32Array([0, 1, 9])],
  ['too few offsets', new Int32Array([0, 1])],
])('%s are refused', (_name, valueOffsets) => {
  const data = makeData({
    type: new Utf8(),
    length: 2,
    nullCount: 0,
    valueOffsets,
    data: Buffer.from('abc'),
  });
  expect(() => idsOf(windowWith({ id: new Vector([data]) }), 'id')).toThrow(
    'column id: its values lie outside of its bytes',
  );
});

test('any texts are found again as they are, equal ones as one', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom('a', 'b', 'aaaa', 'aaaab', 'aaaaaaaa', ''),
    fc.constant(null),
  );
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 50 }), (texts) => {
      const known = texts.map((id) => (id !== null && isEntityId(id) ? id : undefined));
      expect(idsIn(vectorFromArray(texts, new Utf8()))).toEqual(known);
    }),
  );
});

test('any whole numbers are found again as their decimal texts', () => {
  fc.assert(
    fc.property(
      fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { minLength: 1 }),
      (values) => {
        const known = values.map((value) =>
          Number.isSafeInteger(Number(value)) ? String(value) : undefined,
        );
        expect(idsIn(vectorFromArray(values, new Int64()))).toEqual(known);
      },
    ),
  );
});
