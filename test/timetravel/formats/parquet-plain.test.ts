import {
  type Data,
  DateDay,
  Field,
  Float16,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  LargeUtf8,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  tableFromIPC,
  TimestampMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint32,
  Uint64,
  Utf8,
} from 'apache-arrow';
import fc from 'fast-check';
import { readParquet } from 'parquet-wasm/node';
import { describe, expect, it } from 'vitest';

import type { Answer } from '../../../src/timetravel/formats/answer.ts';
import { plainOf, planPlain } from '../../../src/timetravel/formats/parquet-plain.ts';
import { parquetEncoding } from '../../../src/timetravel/formats/parquet.ts';
import {
  encodeThrift,
  mustGetNumber,
  parseThrift,
} from '../../../src/timetravel/formats/thrift.ts';
import { wholeOf } from './read-back.ts';

const TYPES = [
  new Int32(),
  new Int64(),
  new Uint32(),
  new Uint64(),
  new Float32(),
  new Float64(),
  new DateDay(),
  new TimestampMillisecond('UTC'),
  new TimestampMicrosecond('UTC'),
  new TimestampNanosecond(),
];

/** Bits that begin within a byte, `offset` bits on. */
function bitmapOf(valid: readonly boolean[], offset: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil((offset + valid.length) / 8)).fill(0xff, 0, offset >> 3);
  valid.forEach((is, row) => (bits[(offset + row) >> 3]! |= (is ? 1 : 0) << ((offset + row) & 7)));
  return bits;
}

/** A column of any numbers that its type has, of which some are null. */
function numbers(type: (typeof TYPES)[number], bytes: Uint8Array, valid: readonly boolean[]): Data {
  const values = new type.ArrayType(bytes.slice().buffer);
  const nullBitmap = valid.includes(false) ? bitmapOf(valid, 0) : null;
  return makeData({ type, length: valid.length, data: values, nullBitmap } as never);
}

function textsColumn(texts: readonly (string | null)[], type: Utf8 | LargeUtf8 = new Utf8()): Data {
  const lengths = texts.map((text) => Buffer.byteLength(text ?? ''));
  const ends = [0];
  for (const length of lengths) ends.push(ends.at(-1)! + length);
  const isLarge = type instanceof LargeUtf8;
  return makeData({
    type,
    length: texts.length,
    data: Buffer.from(texts.join('')),
    valueOffsets: isLarge ? BigInt64Array.from(ends, BigInt) : Int32Array.from(ends),
    nullBitmap: texts.includes(null)
      ? bitmapOf(
          texts.map((text) => text !== null),
          0,
        )
      : null,
  } as never);
}

function field(type: Data['type'], nullable = true): Field {
  return new Field('value', type, nullable);
}

function isPlain(data: Data): boolean {
  return plainOf(field(new Utf8()), data) !== undefined;
}

function answerOf(data: Data, nullable = true): Answer {
  const fields = [field(data.type, nullable)];
  const type = new Struct(fields);
  const whole = makeData({ type, length: data.length, nullCount: 0, children: [data] });
  const batch = new RecordBatch(new Schema(fields), whole);
  return { firstRow: 0, batch, vectors: [], spineColumns: 1 };
}

/** The column as another reader has it. */
function readBack(data: Data, nullable = true): Data[] {
  const file = wholeOf(parquetEncoding, [answerOf(data, nullable)]);
  const table = tableFromIPC(readParquet(file).intoIPCStream());
  expect(table.schema.fields[0]!.nullable).toBe(nullable);
  expect(String(table.schema.fields[0]!.type)).toBe(String(data.type as Utf8));
  return table.batches.map((batch) => batch.data.children[0]!);
}

/** Of each row its bytes; null where it is null. */
function bitsOf(columns: readonly Data[]): (string | null)[] {
  return columns.flatMap((data) => {
    const { buffer, byteOffset, BYTES_PER_ELEMENT: width } = data.values as Float64Array;
    return Array.from({ length: data.length }, (_, row) =>
      data.getValid(row)
        ? Buffer.from(buffer, byteOffset + row * width, width).toString('hex')
        : null,
    );
  });
}

function textsIn(columns: readonly Data[]): (string | null)[] {
  return columns.flatMap((data) =>
    Array.from({ length: data.length }, (_, row) => {
      const [start, end] = [Number(data.valueOffsets[row]), Number(data.valueOffsets[row + 1])];
      return data.getValid(row) ? Buffer.from(data.values.subarray(start, end)).toString() : null;
    }),
  );
}

describe('a column of numbers or moments in Parquet', () => {
  it.each(TYPES.map((type) => [String(type), type] as const))(
    'is a copy of its bytes, without those of rows that are null, wherever it was cut: %s',
    (_, type) => {
      const width = type.ArrayType.BYTES_PER_ELEMENT;
      const cases = fc.record({
        valid: fc.oneof(
          fc.array(fc.boolean(), { minLength: 1, maxLength: 70 }),
          fc.integer({ min: 1, max: 70 }).map((rows) => Array<boolean>(rows).fill(true)),
          fc.integer({ min: 1, max: 70 }).map((rows) => Array<boolean>(rows).fill(false)),
        ),
        bytes: fc.uint8Array({ minLength: 70 * width, maxLength: 70 * width }),
        from: fc.nat(20),
      });
      fc.assert(
        fc.property(cases, ({ valid, bytes, from }) => {
          const whole = numbers(type, bytes.subarray(0, valid.length * width), valid);
          const first = Math.min(from, valid.length - 1);
          const data = whole.slice(first, valid.length - first);
          expect(plainOf(field(type), data)).toBeDefined();
          expect(bitsOf(readBack(data))).toEqual(bitsOf([whole]).slice(first));
        }),
        { numRuns: 25 },
      );
    },
  );

  it('may have no place for nulls', () => {
    const data = numbers(new Int32(), Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0), [true, true]);
    expect(bitsOf(readBack(data, false))).toEqual(['01000000', '02000000']);
  });

  it('has as many row groups as it has to, cut within a byte of its nulls', () => {
    const rows = 131_072 + 5;
    const valid = Array.from({ length: rows + 3 }, (_, row) => row % 3 !== 1);
    const values = Float64Array.from(valid, (_, row) => row / 8);
    const whole = numbers(new Float64(), new Uint8Array(values.buffer), valid);
    expect(bitsOf(readBack(whole.slice(3, rows)))).toEqual(bitsOf([whole]).slice(3));
  });

  it('is left to the library where its type is another, or it is not what it says', () => {
    const [bytes, valid] = [new Uint8Array(16), [true, false]];
    expect(plainOf(field(new Float64()), numbers(new Float64(), bytes, valid))).toBeDefined();
    expect(
      plainOf(field(new Float64(), false), numbers(new Float64(), bytes, valid)),
    ).toBeUndefined();
    const short = makeData({ type: new Int32(), length: 3, data: new Int32Array(2) });
    expect(plainOf(field(new Int32()), short)).toBeUndefined();
    for (const type of [new Int16(), new Float16(), new TimestampSecond()]) {
      const data = makeData({ type, length: 1, data: new type.ArrayType(1) } as never);
      expect(plainOf(field(type), data)).toBeUndefined();
    }
  });
});

describe('a column of texts in Parquet', () => {
  const rows = 2_100;

  it.each([new Utf8(), new LargeUtf8()])(
    'is read as it was written, wherever it was cut: %s',
    (type) => {
      const words = fc.string({ unit: 'binary', maxLength: 60 });
      const cases = fc.record({
        words: fc.array(fc.option(words), { minLength: 1, maxLength: 40 }),
        from: fc.nat(20),
      });
      fc.assert(
        fc.property(cases, ({ words: some, from }) => {
          const texts = Array.from({ length: rows }, (_, row) => {
            const word = some[row % some.length]!;
            return word === null || row % 10 === 0 ? word && '' : `${word}${row}`;
          });
          const data = textsColumn(texts, type).slice(from, rows - from);
          expect(textsIn(readBack(data))).toEqual(texts.slice(from));
        }),
        { numRuns: 15 },
      );
    },
  );

  it('is in pages of about a MiB, of which each has one text at least', () => {
    const texts = Array.from(
      { length: rows },
      (_, row) => `${row} ${'x'.repeat(row % 2 ? 1_000 : 90)}`,
    );
    texts[2_000] = 'ü'.repeat(2 ** 20);
    const data = textsColumn(texts);
    const { bytes, write } = planPlain(field(data.type), plainOf(field(data.type), data)!, 0, rows);
    const out = new Uint8Array(bytes);
    write(out, 0);
    const sizes: number[] = [];
    for (let at = 0; at < bytes;) {
      const header = parseThrift(out.subarray(at));
      sizes.push(mustGetNumber(header, 2));
      at += encodeThrift(header).byteLength + sizes.at(-1)!;
    }
    expect(sizes.map((size) => Math.round(size / 2 ** 16))).toEqual([16, 1, 32, 1]);
    expect(textsIn(readBack(data))).toEqual(texts);
  });

  it('is left to the library where its texts repeat, are few, or are not UTF-8', () => {
    const distinct = Array.from({ length: rows }, (_, row) => `é${row}`);
    const data = textsColumn(distinct);
    expect(isPlain(data)).toBe(true);
    expect(isPlain(textsColumn(distinct.slice(0, 2_047)))).toBe(false);
    expect(isPlain(textsColumn(distinct.map((_, row) => `${row % 1_000}`)))).toBe(false);
    const moved = data.valueOffsets.slice();
    // The second text begins within a letter of the first.
    moved[1] = moved[0]! + 1;
    const cut = makeData({
      type: new Utf8(),
      length: rows,
      data: data.values,
      valueOffsets: moved,
    });
    expect(isPlain(cut)).toBe(false);
    expect(() => parquetEncoding.window(answerOf(cut))).toThrow(/^the columns value cannot be/);
    const broken = Buffer.from(data.values).fill(0xff, 0, 1);
    expect(
      isPlain(
        makeData({ type: new Utf8(), length: rows, data: broken, valueOffsets: data.valueOffsets }),
      ),
    ).toBe(false);
  });
});
