import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { RecordBatchReader } from 'apache-arrow';
import { expect, it } from 'vitest';

import { type Dtype, numberBytes, vectorBytes, writeNumbers } from '../../src/store/dtype.ts';
import { type Answer, ANSWER_FORMATS } from '../../src/timetravel/formats/answer.ts';
import { encodeFile, encodingOf, extensionOf } from '../../src/timetravel/formats/encodings.ts';
import { pythonWith, runPython } from '../python.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';
import { wholeOf } from '../timetravel/formats/read-back.ts';
import {
  isPresent,
  sampleAnswer,
  sampleNumbers,
  sampleRow,
  sampleScale,
  sampleTable,
  sampleVectors,
  type SampleShape,
  schemaOf,
} from '../timetravel/formats/sample-answer.ts';

const SCRIPT = join(import.meta.dirname, 'read_formats.py');
const TYPES = join(import.meta.dirname, 'spine_types.py');
const ROWS = 414;
const DIM = 47;
const SUMMARY = `{"rows":${ROWS}}`;

/** A sample in windows of several lengths, one of them empty, as a stream or a file has them. */
function windowsOf(shape: SampleShape): Answer[] {
  return [
    sampleAnswer(0, 11, shape),
    sampleAnswer(11, 0, shape),
    sampleAnswer(11, 400, shape),
    sampleAnswer(411, 3, shape),
  ];
}

function expectedRow(row: number, dtype: Dtype): object {
  const moment = 1_772_323_200_000_000 + row * 1_000_001;
  const present = isPresent(row);
  return {
    ...sampleRow(row),
    moment,
    ...(dtype === 'int8' && { job__scale: present ? sampleScale(row) : null }),
    job__event_timestamp: present ? moment : null,
    job__status: present ? 'PRESENT' : 'NOT_FOUND',
    job__reason: present ? null : 'DELETED',
    present,
  };
}

/** The vectors of the rows that have one, one after another. */
function vectorsOf(rows: readonly number[], dtype: Dtype): Buffer {
  const bytes = numberBytes(DIM, dtype);
  const out = Buffer.alloc(rows.length * bytes);
  const vector = new Uint8Array(vectorBytes(DIM, dtype));
  const scale = dtype === 'int8' ? 1 : undefined;
  rows.forEach((row, at) => {
    writeNumbers(sampleNumbers(row, DIM, dtype), DIM, dtype, vector, scale);
    out.set(vector.subarray(0, bytes), at * bytes);
  });
  return out;
}

/** The vectors of the rows that have one, as a table of their own. */
function tableOf(rows: readonly number[], dtype: Dtype): Answer {
  const table = sampleTable(0, rows.length, DIM, dtype);
  const bytes = vectorsOf(rows, dtype);
  const size = numberBytes(DIM, dtype);
  const gather = (out: Uint8Array, offsets: Uint32Array): void =>
    rows.forEach((_, at) => bytes.copy(out, offsets[at], at * size, (at + 1) * size));
  return { ...table, vectors: [{ ...table.vectors[0]!, gather }] };
}

async function writeAnswers(folder: string, dtype: Dtype): Promise<void> {
  const shape = { dim: DIM, dtype };
  const windows = windowsOf(shape);
  const rows = Array.from({ length: ROWS }, (_, row) => row);
  const present = rows.filter(isPresent);
  const table = tableOf(present, dtype);
  const all = sampleAnswer(0, ROWS, shape);
  await writeFile(
    join(folder, 'expected.json'),
    JSON.stringify(rows.map((row) => expectedRow(row, dtype))),
  );
  await writeFile(join(folder, 'expected.vectors'), vectorsOf(present, dtype));
  for (const format of ANSWER_FORMATS) {
    const path = (name: string) => join(folder, `${name}${extensionOf(format)}`);
    const encoding = encodingOf(format);
    const answer = encoding
      ? [wholeOf(encoding, windows, schemaOf(all), SUMMARY)]
      : encodeFile(format, schemaOf(all), all, SUMMARY);
    const empty = sampleAnswer(0, 0, shape);
    await writeFile(path('answer'), answer);
    await writeFile(path('table'), encodeFile(format, schemaOf(table), table, SUMMARY));
    await writeFile(path('empty'), encodeFile(format, schemaOf(empty), empty, SUMMARY));
    if (encoding) await writeFile(path('none'), wholeOf(encoding, [], schemaOf(all), SUMMARY));
  }
}

it.each<[Dtype, Record<string, unknown>]>([
  [
    'float32',
    {
      'pyarrow parquet': 'fixed_size_list<element: float not null>[47]',
      'polars parquet': 'Array(Float32, shape=(47,))',
      'duckdb parquet': 'list<l: float>',
      'pyarrow arrow': 'fixed_size_list<item: float not null>[47]',
      'polars arrow': 'Array(Float32, shape=(47,))',
      'duckdb arrow': 'fixed_size_list<: float>[47]',
      'row groups': 3,
    },
  ],
  [
    'float16',
    {
      'pyarrow parquet': 'fixed_size_list<element: halffloat not null>[47]',
      'polars parquet': 'Array(Float16, shape=(47,))',
      'duckdb parquet': 'list<l: float>',
      'pyarrow arrow': 'fixed_size_list<item: halffloat not null>[47]',
      'polars arrow': 'Array(Float16, shape=(47,))',
      'row groups': 3,
    },
  ],
  [
    'int8',
    {
      'pyarrow parquet': 'fixed_size_list<element: int8 not null>[47]',
      'polars parquet': 'Array(Int8, shape=(47,))',
      'duckdb parquet': 'list<l: int8>',
      'pyarrow arrow': 'fixed_size_list<item: int8 not null>[47]',
      'polars arrow': 'Array(Int8, shape=(47,))',
      'duckdb arrow': 'fixed_size_list<: int8>[47]',
      'row groups': 3,
    },
  ],
])('trainers read every format of an answer bit by bit: %s', async (dtype, types) => {
  const folder = tempDirectory();
  await writeAnswers(folder, dtype);
  const python = await pythonWith(TRAINER_PACKAGES);
  const found = await runPython(python, [SCRIPT, folder, dtype, String(DIM)]);
  expect(JSON.parse(found)).toEqual(types);
});

it('a column of a spine keeps its type and its values, whatever they are (A11)', async () => {
  const folder = tempDirectory();
  const python = await pythonWith(TRAINER_PACKAGES);
  await runPython(python, [TYPES, 'write', folder]);
  const [batch] = RecordBatchReader.from(await readFile(join(folder, 'spine.arrows')));
  const at = batch!.numCols;
  // Cut where no byte of a bitmap ends.
  const windows = [batch!.slice(0, 3), batch!.slice(3, 7)].map((cut, index): Answer => {
    const firstRow = index * 3;
    const shape = { dim: 3, dtype: 'float32' as const };
    const vectors = [sampleVectors('vector', at, firstRow, cut.numRows, shape)];
    return { firstRow, batch: cut, vectors, spineColumns: at };
  });
  for (const format of ['arrow', 'parquet'] as const) {
    const answer = wholeOf(encodingOf(format)!, windows);
    await writeFile(join(folder, `answer${extensionOf(format)}`), answer);
  }
  expect(await runPython(python, [TYPES, 'check', folder])).toBe('');
});
