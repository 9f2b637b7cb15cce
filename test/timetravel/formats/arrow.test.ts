import {
  Binary,
  type Data,
  DataType,
  Dictionary,
  Field,
  type FixedSizeList,
  Int8,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  type StructRow,
  type Table,
  tableFromIPC,
  Utf8,
  Utf8View,
  vectorFromArray,
} from 'apache-arrow';
import { describe, expect, it } from 'vitest';

import { DTYPES } from '../../../src/store/dtype.ts';
import type { Answer } from '../../../src/timetravel/formats/answer.ts';
import { arrowEncoding } from '../../../src/timetravel/formats/arrow.ts';
import { EDGES, rowsOf, sampleRows, wholeOf, writtenTwice } from './read-back.ts';
import {
  sampleAnswer,
  sampleNumbers,
  sampleTable,
  sampleVectors,
  schemaOf,
} from './sample-answer.ts';

/** An answer with one column beside its vectors. */
function withColumn(data: Data, vectors: Answer['vectors'] = []): Answer {
  const fields = [new Field('column', data.type, true)];
  const type = new Struct(fields);
  const { length } = data;
  const whole = makeData({ type, length, nullCount: 0, children: [data] });
  const batch = new RecordBatch(new Schema(fields), whole);
  return { firstRow: 0, batch, vectors, spineColumns: 1 };
}

describe('an answer as an Arrow stream', () => {
  it.each(DTYPES)(
    'is read as it was written, each window with its own dictionaries: %s',
    (dtype) => {
      const shape = { dim: 5, dtype };
      const table = tableFromIPC(
        wholeOf(arrowEncoding, [
          sampleAnswer(0, 11, shape),
          sampleAnswer(11, 0, shape),
          sampleAnswer(11, 3, shape),
          sampleAnswer(14, 40, shape),
        ]),
      );
      expect(rowsOf(table)).toEqual(sampleRows(0, 54, shape));
      const { type } = table.schema.fields[7]! as Field<FixedSizeList>;
      expect(DataType.isFixedSizeList(type) && type.listSize).toBe(5);
      expect(type.children[0]!.nullable).toBe(false);
      expect(String(table.schema.fields[6]!.type)).toBe('Timestamp<MICROSECOND, UTC>');
    },
  );

  it.each(EDGES)('may have %s', (_, rows, present) => {
    const shape = { dim: 3, dtype: 'float32' as const, ...(present && { present }) };
    const table = tableFromIPC(wholeOf(arrowEncoding, [sampleAnswer(0, rows, shape)]));
    expect(rowsOf(table)).toEqual(sampleRows(0, rows, shape));
  });

  it('may have no window, and has its columns all the same', () => {
    const schema = schemaOf(sampleAnswer(0, 1, { dim: 3, dtype: 'float32' }));
    const table = tableFromIPC(wholeOf(arrowEncoding, [], schema));
    expect(table.numRows).toBe(0);
    expect(table.schema.fields).toHaveLength(11);
  });

  it('may be of vectors alone', () => {
    const table = tableFromIPC(wholeOf(arrowEncoding, [sampleTable(0, 9, 2, 'float16')]));
    expect(rowsOf(table)).toEqual(
      Array.from({ length: 9 }, (_, row) => ({ vector: sampleNumbers(row, 2, 'float16') })),
    );
  });

  it.each<[string, (rows: number) => Data]>([
    ['text', (rows) => texts(rows, new Utf8())],
    ['text as views', views],
    ['binary', (rows) => vectorFromArray(binary(rows), new Binary()).data[0]!],
  ])('gives a window of many rows in several messages: %s', (_, columnOf) => {
    const rows = 65_536 + 70;
    const shape = { dim: 1, dtype: 'float32' as const };
    const column = columnOf(rows);
    const vectors = [sampleVectors('vector', 1, 0, rows, shape)];
    const table = tableFromIPC(wholeOf(arrowEncoding, [withColumn(column, vectors)]));
    expect(table.batches.map(({ numRows }) => numRows)).toEqual([65_536, 70, 0]);
    const read = rowsOf(table);
    for (const row of [0, 1, 3, 65_535, 65_536, 65_537, 65_543, rows - 1]) {
      const { column: value, vector } = read[row]!;
      const text = value instanceof Uint8Array ? Buffer.from(value).toString() : value;
      expect(text).toBe(row % 7 === 1 ? null : textOf(row));
      expect(vector).toEqual(row % 5 === 3 ? null : sampleNumbers(row, 1, 'float32'));
    }
  });

  it.each(DTYPES)('is the same in memory that was used before: %s', (dtype) => {
    const { fresh, used, again } = writtenTwice(arrowEncoding, dtype);
    expect(again.buffer).toBe(used.buffer);
    expect(Buffer.compare(again, fresh)).toBe(0);
  });

  it('numbers the dictionaries anew, wherever they are and in however many pieces they came', () => {
    const windows = [
      withColumn(landsAndTags(['x', 'y'], ['a', 'b'])),
      withColumn(landsAndTags(['z', 'x'], ['b', 'c'])),
    ];
    const table = tableFromIPC(wholeOf(arrowEncoding, windows));
    const read = Array.from(table.getChildAt(0)!, (row: StructRow) => row.toJSON());
    expect(read).toEqual([
      { land: 'x', tag: 'b' },
      { land: 'y', tag: 'a' },
      { land: 'z', tag: 'c' },
      { land: 'x', tag: 'b' },
    ]);
  });

  it('starts each column of numbers on a multiple of 64 bytes of the stream', () => {
    const stream = new Uint8Array(
      wholeOf(arrowEncoding, [sampleAnswer(0, 21, { dim: 3, dtype: 'float32' })]),
    );
    const table: Table = tableFromIPC(stream);
    const places = table.batches[0]!.data.children.flatMap((data) =>
      [data.children[0]?.values, data.values].flatMap((values: Uint8Array | undefined) =>
        values?.buffer === stream.buffer ? [values.byteOffset % 64] : [],
      ),
    );
    expect(places.length).toBeGreaterThan(8);
    expect(new Set(places)).toEqual(new Set([0]));
  });
});

/** Two rows with a dictionary each of the lands, and of the tags in two pieces, last tag first. */
function landsAndTags(lands: readonly string[], tags: readonly string[]): Data {
  const type = new Dictionary(new Utf8(), new Int8());
  const [first, second] = tags.map((tag) => vectorFromArray([tag], new Utf8()));
  const children = [
    makeData({
      type,
      length: 2,
      data: Int8Array.of(0, 1),
      dictionary: vectorFromArray(lands, new Utf8()),
    }),
    makeData({
      type: new Dictionary(new Utf8(), new Int8()),
      length: 2,
      data: Int8Array.of(1, 0),
      dictionary: first!.concat(second!),
    }),
  ];
  const fields = children.map((data, at) => new Field(['land', 'tag'][at]!, data.type, true));
  return makeData({ type: new Struct(fields), length: 2, nullCount: 0, children });
}

function textOf(row: number): string {
  return row % 3 === 0 ? `${row}` : `a text of more than twelve bytes ${row}`;
}

function valuesOf(rows: number): (string | null)[] {
  return Array.from({ length: rows }, (_, row) => (row % 7 === 1 ? null : textOf(row)));
}

function texts(rows: number, type: Utf8): Data {
  return vectorFromArray(valuesOf(rows), type).data[0]!;
}

function binary(rows: number): (Uint8Array | null)[] {
  return valuesOf(rows).map((value) => (value === null ? null : Buffer.from(value)));
}

function views(rows: number): Data {
  return vectorFromArray(valuesOf(rows), new Utf8View()).data[0]!;
}
