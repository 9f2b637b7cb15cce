import {
  type Data,
  Dictionary,
  Field,
  Int8,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  tableFromIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { readParquet } from 'parquet-wasm/node';
import { describe, expect, it } from 'vitest';

import type { Answer } from '../../../src/timetravel/formats/answer.ts';
import { isOfCodes } from '../../../src/timetravel/formats/parquet-codes.ts';
import { parquetEncoding } from '../../../src/timetravel/formats/parquet.ts';
import { wholeOf } from './read-back.ts';

/** A column of these codes for texts; null where −1. */
function column(codes: readonly number[], texts: readonly (string | null)[]): Data {
  const bits = new Uint8Array(Math.ceil(codes.length / 8));
  codes.forEach((code, row) => (bits[row >> 3]! |= (code < 0 ? 0 : 1) << (row & 7)));
  return makeData({
    type: new Dictionary(new Utf8(), new Int8()),
    length: codes.length,
    data: Int8Array.from(codes, (code) => Math.max(0, code)),
    nullBitmap: codes.includes(-1) ? bits : null,
    dictionary: vectorFromArray(texts, new Utf8()),
  });
}

function field(nullable: boolean): Field {
  return new Field('word', new Dictionary(new Utf8(), new Int8()), nullable);
}

function answerOf(data: Data, nullable: boolean): Answer {
  const fields = [new Field('word', data.type, nullable)];
  const type = new Struct(fields);
  const whole = makeData({ type, length: data.length, nullCount: 0, children: [data] });
  const batch = new RecordBatch(new Schema(fields), whole);
  return { firstRow: 0, batch, vectors: [], spineColumns: 1 };
}

function readBack(data: Data, nullable = true): unknown[] {
  const file = wholeOf(parquetEncoding, [answerOf(data, nullable)]);
  const table = tableFromIPC(readParquet(file).intoIPCStream());
  expect(table.schema.fields[0]!.nullable).toBe(nullable);
  return [...table.getChild('word')!];
}

describe('a column of few texts in Parquet', () => {
  it.each<[string, readonly number[], readonly string[]]>([
    ['one text', [0, 0, 0], ['x']],
    ['an empty text and one of more bytes than letters', [1, 0, 1], ['', 'ü€']],
    ['rows that are null', [-1, 2, 0, -1, 1, 1, 1, 1, 1, -1], ['a', 'b', 'c']],
    ['nothing but nulls', [-1, -1, -1], ['a', 'b']],
    ['texts that no row has', [3, 3], ['a', 'b', 'c', 'd', 'e']],
    ['two texts that are the same', [0, 1, 2], ['a', 'b', 'a']],
  ])('is read as it was written: %s', (_, codes, texts) => {
    expect(readBack(column(codes, texts))).toEqual(codes.map((code) => texts[code] ?? null));
  });

  it('may have no place for nulls', () => {
    expect(readBack(column([1, 0, 1], ['a', 'b']), false)).toEqual(['b', 'a', 'b']);
  });

  it('is read as it was written, whatever its codes and wherever it was cut', () => {
    const texts = Array.from({ length: 127 }, (_, at) => `text ${at}`);
    const cases = fc.record({
      count: fc.integer({ min: 1, max: 127 }),
      seed: fc.array(fc.integer({ min: -1, max: 126 }), { minLength: 1, maxLength: 100 }),
      from: fc.nat(20),
    });
    fc.assert(
      fc.property(cases, ({ count, seed, from }) => {
        const codes = seed.map((code) => (code < 0 ? code : code % count));
        const data = column(codes, texts.slice(0, count)).slice(
          from,
          Math.max(0, codes.length - from),
        );
        if (data.length === 0) return;
        const expected = codes.slice(from).map((code) => texts[code] ?? null);
        expect(readBack(data)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('has no more texts than readers take, one for each code, and no nulls among its texts or where there may be none', () => {
    expect(isOfCodes(field(true), column([0, -1], ['a']))).toBe(true);
    expect(isOfCodes(field(false), column([0, -1], ['a']))).toBe(false);
    expect(isOfCodes(field(true), column([0, 1], ['a']))).toBe(false);
    expect(isOfCodes(field(true), column([0, 1], ['a', null]))).toBe(false);
    expect(isOfCodes(field(true), column([-1], []))).toBe(false);
    expect(isOfCodes(field(true), column([0], Array<string>(127).fill('a')))).toBe(true);
    expect(isOfCodes(field(true), column([0], Array<string>(128).fill('a')))).toBe(false);
    expect(isOfCodes(field(true), vectorFromArray(['a'], new Utf8()).data[0]!)).toBe(false);
  });

  it('is refused with its name where a code has no text', () => {
    expect(() => parquetEncoding.window(answerOf(column([0, 7], ['a']), true))).toThrow(
      /^the columns word cannot be written/,
    );
  });
});

describe('a column of texts in Parquet', () => {
  it.each([
    ['mostly differ', 5_000],
    ['are mostly the same', 3],
  ])('is read as it was written where they %s', (_, distinct) => {
    const texts = Array.from({ length: 3_000 }, (__, row) =>
      row % 11 === 3 ? null : `ü ${row % distinct}`,
    );
    expect(readBack(vectorFromArray(texts, new Utf8()).data[0]!)).toEqual(texts);
  });
});
