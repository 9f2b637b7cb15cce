import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  BINARY,
  BYTE,
  encodeThrift,
  I32,
  I64,
  LIST,
  parseThrift,
  STRUCT,
  type ThriftField,
  thriftStruct,
  thriftText,
  TRUE,
} from '../../../src/timetravel/formats/thrift.ts';

describe('Thrift, compact', () => {
  it.each([
    ['nothing', thriftStruct([]), [0x00]],
    ['a number in field 1', thriftStruct([[1, I32, 1]]), [0x15, 0x02, 0x00]],
    ['a negative number', thriftStruct([[1, I32, -1]]), [0x15, 0x01, 0x00]],
    ['a number of two bytes', thriftStruct([[2, I64, 150]]), [0x26, 0xac, 0x02, 0x00]],
    ['a byte', thriftStruct([[1, BYTE, -2]]), [0x13, 0xfe, 0x00]],
    ['a text', thriftStruct([[4, BINARY, thriftText('ab')]]), [0x48, 0x02, 0x61, 0x62, 0x00]],
    ['truth', thriftStruct([[1, TRUE, true]]), [0x11, 0x00]],
    ['untruth', thriftStruct([[1, TRUE, false]]), [0x12, 0x00]],
    ['a field far on', thriftStruct([[20, I32, 0]]), [0x05, 0x28, 0x00, 0x00]],
    [
      'fields that are not in order',
      thriftStruct([
        [3, I32, 1],
        [1, I32, 0],
      ]),
      [0x15, 0x00, 0x25, 0x02, 0x00],
    ],
    [
      'a struct in a struct',
      thriftStruct([[5, STRUCT, thriftStruct([[1, I32, 0]])]]),
      [0x5c, 0x15, 0x00, 0x00, 0x00],
    ],
    [
      'a list',
      thriftStruct([[2, LIST, { itemType: I32, items: [0, 3] }]]),
      [0x29, 0x25, 0x00, 0x06, 0x00],
    ],
    [
      'a list of fifteen',
      thriftStruct([[1, LIST, { itemType: BYTE, items: Array.from({ length: 15 }, () => 7) }]]),
      [0x19, 0xf3, 0x0f, ...Array.from({ length: 15 }, () => 7), 0x00],
    ],
  ])('writes %s', (_, struct, bytes) => {
    expect([...encodeThrift(struct)]).toEqual(bytes);
  });

  it('leaves out a field without a value', () => {
    expect([...encodeThrift(thriftStruct([[1, I32, undefined]]))]).toEqual([0x00]);
  });

  it('refuses a struct that is cut', () => {
    const whole = encodeThrift(thriftStruct([[1, BINARY, thriftText('abc')]]));
    for (let length = 0; length < whole.length; length++) {
      expect(() => parseThrift(whole.subarray(0, length))).toThrow('within its bytes');
    }
  });

  it('reads what it wrote, fields included that nobody knows', () => {
    const { struct } = fc.letrec<{ struct: Map<number, ThriftField>; field: ThriftField }>(
      (tie) => ({
        struct: fc
          .array(fc.tuple(fc.integer({ min: 1, max: 400 }), tie('field')), { maxLength: 4 })
          .map((fields) => new Map(fields.toSorted(([a], [b]) => a - b))),
        field: fc.oneof(
          { depthSize: 'small' },
          fc.record({
            type: fc.constant(I64),
            value: fc.integer({ min: -(2 ** 52), max: 2 ** 52 - 1 }),
          }),
          fc.record({ type: fc.constant(BINARY), value: fc.uint8Array() }),
          fc.boolean().map((value) => ({ type: value ? 1 : 2, value })),
          fc.array(fc.boolean()).map((items) => ({ type: LIST, value: { itemType: TRUE, items } })),
          fc.uint8Array({ minLength: 8, maxLength: 8 }).map((value) => ({ type: 7, value })),
          tie('struct').map((value) => ({ type: STRUCT, value })),
          fc
            .array(tie('struct'), { maxLength: 20 })
            .map((items) => ({ type: LIST, value: { itemType: STRUCT, items } })),
        ),
      }),
    );
    fc.assert(
      fc.property(struct, (value) => {
        expect(parseThrift(encodeThrift(value))).toEqual(value);
      }),
    );
  });
});
