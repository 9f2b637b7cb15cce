import {
  Binary,
  type Data,
  DateDay,
  Decimal,
  Field,
  FixedSizeList,
  Float64,
  Int32,
  Int64,
  List,
  makeData,
  Struct,
  Timestamp,
  TimestampMicrosecond,
  TimeUnit,
  Uint64,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { describe, expect, it } from 'vitest';

import { jsonColumn } from '../../../src/timetravel/formats/json-cell.ts';

function jsonOf(data: Data): unknown[] {
  const column = jsonColumn(data);
  return Array.from({ length: data.length }, (_, row) => column(row));
}

function moments(unit: TimeUnit, timezone: string | null, values: readonly bigint[]): Data {
  const type = new Timestamp(unit, timezone);
  return makeData({ type, length: values.length, data: BigInt64Array.from(values) });
}

describe('a column as JSON', () => {
  it('has whole numbers as numbers within ±2⁵³, and as text beyond', () => {
    const values = [1n, -(2n ** 53n) + 1n, 2n ** 53n, null];
    const json = [1, -9007199254740991, '9007199254740992', null];
    expect(jsonOf(vectorFromArray(values, new Int64()).data[0]!)).toEqual(json);
    const widest = vectorFromArray([2n ** 64n - 1n], new Uint64()).data[0]!;
    expect(jsonOf(widest)).toEqual(['18446744073709551615']);
  });

  it('has null for what is no number', () => {
    const values = [0.1, Number.NaN, Number.POSITIVE_INFINITY, null];
    const data = vectorFromArray(values, new Float64()).data[0]!;
    expect(jsonOf(data)).toEqual([0.1, null, null, null]);
  });

  it.each([
    [TimeUnit.SECOND, 'UTC', 1_772_323_200n, '2026-03-01T00:00:00Z'],
    [TimeUnit.MILLISECOND, 'Europe/Berlin', 1_772_323_200_001n, '2026-03-01T00:00:00.001Z'],
    [TimeUnit.MICROSECOND, 'UTC', -1n, '1969-12-31T23:59:59.999999Z'],
    [TimeUnit.NANOSECOND, 'UTC', 1_772_323_200_000_001_000n, '2026-03-01T00:00:00.000001Z'],
    [TimeUnit.NANOSECOND, 'UTC', -1n, '1969-12-31T23:59:59.999999999Z'],
    [TimeUnit.MICROSECOND, null, 1_772_323_200_000_000n, '2026-03-01T00:00:00'],
    [TimeUnit.SECOND, 'UTC', 2n ** 62n, '4611686018427387904'],
  ])('tells a moment in UTC, of unit %i and zone %s', (unit, timezone, value, json) => {
    expect(jsonOf(moments(unit, timezone, [value]))).toEqual([json]);
  });

  it('tells dates, decimals and binary', () => {
    const days = makeData({ type: new DateDay(), length: 1, data: Int32Array.of(20_513) });
    expect(jsonOf(days)).toEqual(['2026-03-01']);
    const type = new Decimal(2, 10, 128);
    const words = Uint32Array.of(12_345, 0, 0, 0, -5, -1, -1, -1);
    expect(jsonOf(makeData({ type, length: 2, data: words }))).toEqual(['123.45', '-0.05']);
    const bytes = vectorFromArray([Uint8Array.of(0, 255)], new Binary()).data[0]!;
    expect(jsonOf(bytes)).toEqual(['AP8=']);
  });

  it('tells what is nested, moments inside included, and of a slice its rows', () => {
    const item = new Field('item', new Int32(), true);
    const lists = vectorFromArray([[1], null, [2, null], []], new List(item)).data[0]!;
    expect(jsonOf(lists)).toEqual([[1], null, [2, null], []]);
    expect(jsonOf(lists.slice(1, 2))).toEqual([null, [2, null]]);
    const pairs = new FixedSizeList(2, item);
    const numbers = vectorFromArray([1, 2, 3, 4], new Int32()).data[0]!;
    const fixed = makeData({ type: pairs, length: 2, child: numbers });
    expect(jsonOf(fixed.slice(1, 1))).toEqual([[3, 4]]);
    const fields = [
      new Field('name', new Utf8(), true),
      new Field('at', new TimestampMicrosecond('UTC'), true),
    ];
    const struct = makeData({
      type: new Struct(fields),
      length: 2,
      nullBitmap: Uint8Array.of(0b10),
      children: [
        vectorFromArray(['a', 'b'], new Utf8()).data[0]!,
        moments(TimeUnit.MICROSECOND, 'UTC', [0n, 1n]),
      ],
    });
    expect(jsonOf(struct)).toEqual([null, { name: 'b', at: '1970-01-01T00:00:00.000001Z' }]);
  });
});
