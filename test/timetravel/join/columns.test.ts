import { Vector } from 'apache-arrow';
import { expect, test } from 'vitest';

import {
  codeColumn,
  type Column,
  integerColumn,
  rowColumn,
  timestampColumn,
} from '../../../src/timetravel/join/columns.ts';
import { REASONS, STATUSES } from '../../../src/timetravel/status.ts';

function read({ field, data }: Column): [string, string, number, unknown[]] {
  return [field.name, String(field.type), data.nullCount, [...new Vector([data])]];
}

const NUMBERS = [0, 1, -1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -(2 ** 32), -(2 ** 32) - 1];

test('whole numbers come exactly, however large, and NaN as null', () => {
  const edges = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, ...NUMBERS];
  const values = Float64Array.of(...edges, Number.NaN);
  expect(read(integerColumn('row_number', values))).toEqual([
    'row_number',
    'Int64',
    1,
    [...edges.map(BigInt), null],
  ]);
});

test('moments are timestamps in microseconds, UTC; a row of none is null', () => {
  const micros = NUMBERS.map((value) => value * 1_000);
  const column = timestampColumn('t', Float64Array.of(Number.NaN, ...micros, Number.NaN));
  expect(read(column)).toEqual(['t', 'Timestamp<MICROSECOND, UTC>', 2, [null, ...NUMBERS, null]]);
});

test('a row of a table of vectors is a number, and null where there is no vector', () => {
  expect(read(rowColumn('r', Int32Array.of(3, -1, 0)))).toEqual(['r', 'Int32', 1, [3, null, 0]]);
});

test('a code is told by its word, and none by null', () => {
  const reasons = Uint8Array.from(REASONS.keys());
  const type = 'Dictionary<Int8, Utf8>';
  expect(read(codeColumn('reason', reasons, REASONS))).toEqual(['reason', type, 1, [...REASONS]]);
  const statuses = Uint8Array.of(3, 0, 0, 1, 2);
  expect(read(codeColumn('status', statuses, STATUSES))).toEqual([
    'status',
    type,
    0,
    ['INVALID', 'PRESENT', 'PRESENT', 'NOT_FOUND', 'OUTSIDE_MAX_AGE'],
  ]);
});

test('columns of any length have their nulls where they are', () => {
  for (const length of [0, 1, 7, 8, 63, 64, 65, 130]) {
    const values = Int32Array.from({ length }, (_, row) => (row % 3 === 0 ? -1 : row));
    const [, , nulls, cells] = read(rowColumn('r', values));
    expect(cells).toEqual(Array.from(values, (value) => (value < 0 ? null : value)));
    expect(nulls).toBe(Math.ceil(length / 3));
  }
});
