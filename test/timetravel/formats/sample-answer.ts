import {
  Bool,
  type Data,
  Dictionary,
  Field,
  Float32,
  Float64,
  Int32,
  Int64,
  Int8,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';

import { type Dtype, numberBytes, vectorBytes, writeNumbers } from '../../../src/store/dtype.ts';
import type { Answer, AnswerSchema, VectorColumn } from '../../../src/timetravel/formats/answer.ts';
import { STATUSES } from '../../../src/timetravel/status.ts';

/** The first moment of a sample, µs: 2026-03-01T00:00:00Z. */
const START = 1_772_323_200_000_000n;

/** The scale of a row's vector, of int8. */
export function sampleScale(row: number): number {
  return Math.fround((row + 1) / 300);
}

/** The numbers of a row's vector: no two rows have the same. */
export function sampleNumbers(row: number, dim: number, dtype: Dtype): number[] {
  const rounded = {
    float32: Math.fround,
    float16: Math.f16round,
    // All of them come, the least too; and no zero is negative.
    int8: (value: number) => Math.floor(value * 128) | 0,
  }[dtype];
  return Array.from({ length: dim }, (_, at) => rounded(Math.sin(row * 31 + at * 7 + 1)));
}

/** A row has a vector unless it is one in five. */
export function isPresent(row: number): boolean {
  return row % 5 !== 3;
}

export interface SampleShape {
  dtype: Dtype;
  dim: number;
  /** All rows are there unless told otherwise. */
  present?: (row: number) => boolean;
}

/** A vector column of a sample, whose rows are those from `firstRow` on. */
export function sampleVectors(
  name: string,
  at: number,
  firstRow: number,
  rows: number,
  { dim, dtype, present = isPresent }: SampleShape,
): VectorColumn {
  const bytes = vectorBytes(dim, dtype);
  const valid = Uint8Array.from({ length: rows }, (_, row) => (present(firstRow + row) ? 1 : 0));
  const one = new Uint8Array(bytes);
  return {
    name,
    at,
    dim,
    dtype,
    valid,
    gather(out, offsets) {
      for (let row = 0; row < rows; row++) {
        if (valid[row] === 0) continue;
        const scale = dtype === 'int8' ? sampleScale(firstRow + row) : undefined;
        writeNumbers(sampleNumbers(firstRow + row, dim, dtype), dim, dtype, one, scale);
        out.set(one.subarray(0, numberBytes(dim, dtype)), offsets[row]);
      }
    },
  };
}

function utf8(values: readonly (string | null)[]): Data {
  return vectorFromArray(values, new Utf8()).data[0]!;
}

/** A column of one of few texts, as a spine has it: each window's list is its own. */
function words(values: readonly (string | null)[], codes: Int8 | Int32): Data {
  const list = [...new Set(values.filter((value) => value !== null))];
  const data = list.length === 0 ? [''] : list;
  const indices = values.map((value) => (value === null ? null : list.indexOf(value)));
  const { values: numbers, nullBitmap } = vectorFromArray(indices, codes).data[0]!;
  return makeData({
    type: new Dictionary(new Utf8(), codes),
    length: values.length,
    data: numbers,
    nullBitmap: values.includes(null) ? nullBitmap : null,
    dictionary: vectorFromArray(data, new Utf8()),
  });
}

function moments(rows: number, firstRow: number, present: (row: number) => boolean): Data {
  const values = Array.from({ length: rows }, (_, row) =>
    present(firstRow + row) ? START + BigInt(firstRow + row) * 1_000_001n : null,
  );
  const { values: numbers, nullBitmap } = vectorFromArray(values, new Int64()).data[0]!;
  return makeData({
    type: new TimestampMicrosecond('UTC'),
    length: rows,
    data: numbers,
    nullBitmap: values.includes(null) ? nullBitmap : null,
  });
}

/** The values of a sample's row, as JSON has them, without its vectors. */
export function sampleRow(row: number): Record<string, unknown> {
  return {
    id: `job-${row % 7} ü`,
    label: row * 1_000_003,
    weight: row % 4 === 1 ? null : row / 8,
    kept: row % 6 === 5 ? null : row % 2 === 0,
    country: row % 9 === 8 ? null : `land ${Math.floor(row / 10)}`,
    tags: row % 3 === 2 ? null : Array.from({ length: row % 3 }, (_, at) => `tag ${at}`),
  };
}

const ADDED = ['job__event_timestamp', 'job__status', 'job__reason'];

/** A window of an answer: seven columns of a spine, and a reference with its vectors and two more. */
export function sampleAnswer(firstRow: number, rows: number, shape: SampleShape): Answer {
  const own = Array.from({ length: rows }, (_, row) => sampleRow(firstRow + row));
  const present = shape.present ?? isPresent;
  const statuses = own.map((_, row) => STATUSES[present(firstRow + row) ? 0 : 1]);
  const reasons = own.map((_, row) => (present(firstRow + row) ? null : 'DELETED'));
  const pick = (name: string) => own.map((row) => row[name]);
  const columns: [string, Data][] = [
    ['id', utf8(pick('id') as string[])],
    ['label', vectorFromArray((pick('label') as number[]).map(BigInt), new Int64()).data[0]!],
    ['weight', vectorFromArray(pick('weight') as number[], new Float64()).data[0]!],
    ['kept', vectorFromArray(pick('kept') as boolean[], new Bool()).data[0]!],
    ['country', words(pick('country') as string[], new Int32())],
    ['tags', vectorFromArray(pick('tags') as string[][], new List(tag)).data[0]!],
    ['moment', moments(rows, firstRow, () => true)],
    [ADDED[0]!, moments(rows, firstRow, present)],
    [ADDED[1]!, words(statuses, new Int8())],
    [ADDED[2]!, words(reasons, new Int8())],
  ];
  const spineColumns = columns.length - ADDED.length;
  if (shape.dtype === 'int8') {
    const scales = own.map((_, row) =>
      present(firstRow + row) ? sampleScale(firstRow + row) : null,
    );
    const column = vectorFromArray(scales, new Float32()).data[0]!;
    columns.splice(spineColumns, 0, ['job__scale', column]);
  }
  return {
    firstRow,
    batch: batchOf(columns, rows),
    vectors: [sampleVectors('job__vector', 7, firstRow, rows, shape)],
    spineColumns,
  };
}

const tag = new Field('item', new Utf8(), true);

/** A window of a table of vectors: of vectors=ref, each distinct vector once. */
export function sampleTable(firstRow: number, rows: number, dim: number, dtype: Dtype): Answer {
  const shape = { dim, dtype, present: () => true };
  return {
    firstRow,
    batch: batchOf([], rows),
    vectors: [sampleVectors('vector', 0, firstRow, rows, shape)],
    spineColumns: 0,
  };
}

function batchOf(columns: readonly [string, Data][], rows: number): RecordBatch {
  const fields = columns.map(([name, { type }]) => new Field(name, type, true));
  const children = columns.map(([, data]) => data);
  const type = new Struct(fields);
  return new RecordBatch(
    new Schema(fields),
    makeData({ type, length: rows, nullCount: 0, children }),
  );
}

export function schemaOf({ batch, vectors }: Answer): AnswerSchema {
  return { schema: batch.schema, vectors };
}
