import {
  DenseUnion,
  Field,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  type Table,
  tableFromIPC,
} from 'apache-arrow';
import { ParquetFile, readParquet } from 'parquet-wasm/node';
import { describe, expect, it } from 'vitest';

import { DTYPES } from '../../../src/store/dtype.ts';
import { parseFooter } from '../../../src/timetravel/formats/parquet-footer.ts';
import { parquetEncoding } from '../../../src/timetravel/formats/parquet.ts';
import { EDGES, rowsOf, sampleRows, wholeOf, writtenTwice } from './read-back.ts';
import {
  sampleAnswer,
  sampleNumbers,
  type SampleShape,
  sampleTable,
  sampleVectors,
  schemaOf,
} from './sample-answer.ts';

function read(file: Uint8Array): Table {
  return tableFromIPC(readParquet(file).intoIPCStream());
}

describe('an answer in Parquet', () => {
  it.each(DTYPES)('is read as it was written, window after window: %s', (dtype) => {
    const shape = { dim: 5, dtype };
    const file = wholeOf(parquetEncoding, [
      sampleAnswer(0, 11, shape),
      sampleAnswer(11, 3, shape),
      sampleAnswer(14, 40, shape),
    ]);
    const table = read(file);
    expect(rowsOf(table)).toEqual(sampleRows(0, 54, shape));
    expect(String(table.schema.fields[7]!.type)).toMatch(
      /^FixedSizeList\[5\]<(Float32|Float16|Int8)>$/,
    );
    expect(String(table.schema.fields[6]!.type)).toBe('Timestamp<MICROSECOND, UTC>');
  });

  it('has many row groups and many pages where there are many vectors', () => {
    const shape: SampleShape = { dim: 8_192, dtype: 'float32', present: (row) => row % 7 !== 2 };
    const answer = sampleAnswer(0, 1_030, shape);
    const file = wholeOf(parquetEncoding, [answer]);
    const { rowGroups } = parseFooter(file);
    expect(rowGroups.map(({ rows }) => rows)).toEqual([1_024, 6]);
    const vectors = read(file).getChild('job__vector')!;
    for (const row of [0, 1, 2, 3, 31, 32, 33, 1_023, 1_024, 1_025, 1_029]) {
      const numbers = row % 7 === 2 ? null : sampleNumbers(row, 8_192, 'float32');
      const vector = vectors.get(row) as Iterable<number> | null;
      expect(vector && Array.from(vector)).toEqual(numbers);
    }
  });

  it('has numbers of int8 a byte each, in pages whose codes come in eights', () => {
    const shape: SampleShape = { dim: 8_191, dtype: 'int8', present: (row) => row % 7 !== 2 };
    const file = wholeOf(parquetEncoding, [sampleAnswer(0, 270, shape)]);
    expect(file.byteLength).toBeLessThan(1.02 * 270 * 8_191);
    const vectors = read(file).getChild('job__vector')!;
    for (const row of [0, 1, 2, 3, 127, 128, 129, 256, 257, 269]) {
      const numbers = row % 7 === 2 ? null : sampleNumbers(row, 8_191, 'int8');
      const vector = vectors.get(row) as Iterable<number> | null;
      expect(vector && Array.from(vector)).toEqual(numbers);
    }
  });

  it.each(EDGES)('may have %s', (_, rows, present) => {
    const shape = { dim: 3, dtype: 'float32' as const, ...(present && { present }) };
    const file = wholeOf(parquetEncoding, [sampleAnswer(0, rows, shape)]);
    expect(rowsOf(read(file))).toEqual(sampleRows(0, rows, shape));
  });

  it('may have no window, and has its columns all the same', () => {
    const schema = schemaOf(sampleAnswer(0, 1, { dim: 3, dtype: 'float32' }));
    const table = read(wholeOf(parquetEncoding, [], schema));
    expect(table.numRows).toBe(0);
    expect(table.schema.names).toEqual(
      Object.keys(sampleRows(0, 1, { dim: 3, dtype: 'float32' })[0]!),
    );
  });

  it('may be of vectors alone, each of one number', () => {
    const file = wholeOf(parquetEncoding, [
      sampleTable(0, 4, 1, 'float32'),
      sampleTable(4, 3, 1, 'float32'),
    ]);
    const expected = Array.from({ length: 7 }, (_, row) => ({
      vector: sampleNumbers(row, 1, 'float32'),
    }));
    expect(rowsOf(read(file))).toEqual(expected);
  });

  it('may have several columns of vectors, of different shapes, at any place', () => {
    const answer = sampleAnswer(0, 20, { dim: 4, dtype: 'float32' });
    const first = sampleVectors('a', 0, 0, 20, { dim: 2, dtype: 'float16' });
    const last = sampleVectors('z', 12, 0, 20, { dim: 3, dtype: 'float32', present: () => true });
    const job = { ...answer.vectors[0]!, at: 8 };
    const file = wholeOf(parquetEncoding, [{ ...answer, vectors: [first, job, last] }]);
    const rows = sampleRows(0, 20, { dim: 4, dtype: 'float32' }).map((row, at) => ({
      a: at % 5 === 3 ? null : sampleNumbers(at, 2, 'float16'),
      ...row,
      z: sampleNumbers(at, 3, 'float32'),
    }));
    const table = read(file);
    expect(rowsOf(table)).toEqual(rows);
    expect(table.schema.names).toEqual(Object.keys(rows[0]!));
  });

  it.each(DTYPES)('is the same in memory that was used before: %s', (dtype) => {
    const { fresh, used, again } = writtenTwice(parquetEncoding, dtype);
    expect(again.buffer).toBe(used.buffer);
    expect(Buffer.compare(again, fresh)).toBe(0);
  });

  it('tells the summary and who wrote it in its footer', async () => {
    const answer = sampleAnswer(0, 2, { dim: 2, dtype: 'float32' });
    const file = wholeOf(parquetEncoding, [answer], schemaOf(answer), '{"rows":2}');
    const opened = await ParquetFile.fromFile(new Blob([new Uint8Array(file)]));
    const metadata = opened.metadata().fileMetadata();
    expect(metadata.createdBy()).toBe('tidemark');
    expect(metadata.keyValueMetadata().get('tidemark')).toBe('{"rows":2}');
    expect(metadata.numRows()).toBe(2);
  });

  it('refuses a column of a type that Parquet has not, and says which formats are left', () => {
    const type = new DenseUnion([0], [new Field('number', new Int32(), true)]);
    const column = makeData({
      type,
      length: 1,
      typeIds: Int8Array.of(0),
      valueOffsets: Int32Array.of(0),
      children: [makeData({ type: new Int32(), length: 1, data: Int32Array.of(7) })],
    });
    const fields = [new Field('either', type, true)];
    const data = makeData({
      type: new Struct(fields),
      length: 1,
      nullCount: 0,
      children: [column],
    });
    const batch = new RecordBatch(new Schema(fields), data);
    const answer = { ...sampleTable(0, 1, 2, 'float32'), batch, spineColumns: 1 };
    expect(() => parquetEncoding.window(answer)).toThrow(
      /^the columns either cannot be written as Parquet: .*ask for another format$/,
    );
  });
});
