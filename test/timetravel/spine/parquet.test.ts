import { closeSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import {
  type DataType,
  Dictionary,
  Field,
  Int32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table as ArrowTable,
  tableToIPC,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import { Compression, Table, WriterPropertiesBuilder, writeParquet } from 'parquet-wasm/node';
import { expect, test } from 'vitest';

import {
  encodeFooter,
  extentOf,
  MAGIC,
  moved,
  parseFooter,
} from '../../../src/timetravel/formats/parquet-footer.ts';
import { groupSizes } from '../../../src/timetravel/spine/parquet-sizes.ts';
import { rangesOf } from '../../../src/timetravel/spine/parquet-source.ts';
import { openSpineFile, type SpineLimits } from '../../../src/timetravel/spine/source.ts';
import type { SpinePiece } from '../../../src/timetravel/spine/window.ts';
import { tempDirectory } from '../../support/temp.ts';
import { LIMITS, rowsOf, windowsOf } from './spine.ts';

const ROWS = Array.from({ length: 50 }, (_, row) => ({
  id: row % 11 === 5 ? null : `job-${row % 7}`,
  at: row * 1_000,
  label: row,
}));

function parquetFile(groupRows: number, rows = ROWS): string {
  const table = new ArrowTable({
    id: vectorFromArray(
      rows.map(({ id }) => id),
      new Utf8(),
    ),
    at: vectorFromArray(
      rows.map(({ at }) => at),
      new TimestampMicrosecond('UTC'),
    ),
    label: vectorFromArray(
      rows.map(({ label }) => label),
      new Int32(),
    ),
  });
  const properties = new WriterPropertiesBuilder().setMaxRowGroupSize(groupRows).build();
  const path = join(tempDirectory(), `spine-${groupRows}.parquet`);
  writeFileSync(path, writeParquet(Table.fromIPCStream(tableToIPC(table, 'stream')), properties));
  return path;
}

/** Texts, as a plain column or one of categories, in row groups of so many rows. */
function fileOfTexts(
  texts: readonly string[],
  { groupRows = 100_000, type = new Utf8() }: { groupRows?: number; type?: DataType } = {},
): string {
  const table = new ArrowTable({ text: vectorFromArray([...texts], type) });
  const properties = new WriterPropertiesBuilder()
    .setMaxRowGroupSize(groupRows)
    .setCompression(Compression.ZSTD)
    .build();
  const path = join(tempDirectory(), 'texts.parquet');
  writeFileSync(path, writeParquet(Table.fromIPCStream(tableToIPC(table, 'stream')), properties));
  return path;
}

async function piecesOfFile(path: string, limits: Partial<SpineLimits>): Promise<SpinePiece[]> {
  const source = await openSpineFile(path, 'parquet', { ...LIMITS, ...limits });
  return Array.fromAsync(source.pieces());
}

test.each([
  { groups: [10, 10, 10], rowsMax: 25, ranges: [20, 10] },
  { groups: [10], rowsMax: 10, ranges: [10] },
  { groups: [5, 25, 5, 5], rowsMax: 10, ranges: [5, 9, 9, 7, 10] },
  { groups: [0, 3, 0], rowsMax: 10, ranges: [3] },
  { groups: [0], rowsMax: 10, ranges: [0] },
  { groups: [], rowsMax: 10, ranges: [0] },
])('row groups of $groups rows are read $ranges rows at a time', ({ groups, rowsMax, ranges }) => {
  const sizes = groups.map((rows) => ({ rows, bytes: rows }));
  const plan = rangesOf(sizes, { ...LIMITS, rowsMax });
  expect(plan.map(({ rows }) => rows)).toEqual(ranges);
});

test.each([
  { what: 'one row group', groups: [1_000_000], rows: [250_000, 250_000, 250_000, 250_000] },
  {
    what: 'row groups whose borders are near',
    groups: [...Array.from({ length: 8 }, () => 122_880), 16_960],
    rows: [245_760, 245_760, 245_760, 262_720],
  },
  { what: 'fewer rows than two threads are worth', groups: [100_000], rows: [100_000] },
  { what: 'rows for one turn', groups: [200_000], rows: [100_000, 100_000] },
])('two threads have ranges alike of $what', ({ groups, rows }) => {
  const sizes = groups.map((each) => ({ rows: each, bytes: each }));
  const plan = rangesOf(sizes, { ...LIMITS, rowsMax: 443_000, bytesMax: 2 ** 30, threads: 2 });
  expect(plan.map((range) => range.rows)).toEqual(rows);
});

test('a row group of many bytes is cut by them', () => {
  const plan = rangesOf([{ rows: 10, bytes: 95 }], { ...LIMITS, bytesMax: 50 });
  expect(plan).toEqual([
    { firstRow: 0, rows: 5 },
    { firstRow: 5, rows: 5 },
  ]);
});

test('ranges of any row groups follow one another without a gap, none over the limit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 40 })),
      fc.integer({ min: 1, max: 30 }),
      (groups, rowsMax) => {
        const plan = rangesOf(
          groups.map((rows) => ({ rows, bytes: rows * 8 })),
          { ...LIMITS, rowsMax, bytesMax: 100 },
        );
        let end = 0;
        for (const { firstRow, rows } of plan) {
          expect(firstRow).toBe(end);
          expect(rows).toBeLessThanOrEqual(Math.min(rowsMax, 13));
          end += rows;
        }
        expect(end).toBe(groups.reduce((sum, rows) => sum + rows, 0));
      },
    ),
  );
});

test('the rows of a file come back from pieces of any size, and in any order of the pieces', async () => {
  for (const groupRows of [7, 50]) {
    const path = parquetFile(groupRows);
    for (const rowsMax of [1, 6, 20, 100]) {
      // oxlint-disable-next-line no-await-in-loop
      const source = await openSpineFile(path, 'parquet', { ...LIMITS, rowsMax });
      expect(source.rows).toBe(50);
      // oxlint-disable-next-line no-await-in-loop
      const pieces = await Array.fromAsync(source.pieces());
      // oxlint-disable-next-line no-await-in-loop
      const windows = await windowsOf(pieces.toReversed());
      expect(rowsOf(windows.toReversed())).toEqual(ROWS);
      expect(windows.at(-1)!.nameOf(0)).toBe('row 1');
    }
  }
});

/** The same file with its row groups so far from each other that the last one ends beyond `bytes`. */
function spreadOut(path: string, bytes: number): string {
  const file = readFileSync(path);
  const footer = parseFooter(file);
  const far = `${path}-far`;
  const descriptor = openSync(far, 'w');
  writeSync(descriptor, MAGIC, 0, MAGIC.byteLength, 0);
  const step = Math.ceil(bytes / (footer.rowGroups.length - 1));
  const rowGroups = footer.rowGroups.map((group, at) => {
    const { start, end } = extentOf(group);
    writeSync(descriptor, file, start, end - start, start + at * step);
    return { ...group, columns: group.columns.map((chunk) => moved(chunk, at * step)) };
  });
  // What is between them takes no room on the disk.
  const end = statSync(far).size;
  const tail = encodeFooter({ ...footer, rowGroups });
  writeSync(descriptor, tail, 0, tail.byteLength, end);
  closeSync(descriptor);
  return far;
}

test('a file longer than 32 bits can count is read as a short one', async () => {
  const path = spreadOut(parquetFile(7), 9 * 2 ** 30);
  expect(statSync(path).size).toBeGreaterThan(9 * 2 ** 30);
  for (const rowsMax of [5, 14, 100]) {
    // oxlint-disable-next-line no-await-in-loop
    const source = await openSpineFile(path, 'parquet', { ...LIMITS, rowsMax });
    // oxlint-disable-next-line no-await-in-loop
    const pieces = await Array.fromAsync(source.pieces());
    expect(rowsOf(await windowsOf(pieces))).toEqual(ROWS);
  }
});

test('pieces go on at the border where an earlier run left off', async () => {
  const source = await openSpineFile(parquetFile(50), 'parquet', { ...LIMITS, rowsMax: 20 });
  const pieces = await Array.fromAsync(source.pieces(34));
  expect(pieces.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([[34, 16]]);
});

test('pieces go on at a border that they do not have now, without a row lost (A11)', async () => {
  const source = await openSpineFile(parquetFile(50), 'parquet', { ...LIMITS, rowsMax: 20 });
  const pieces = await Array.fromAsync(source.pieces(30));
  expect(pieces.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([
    [30, 4],
    [34, 16],
  ]);
  expect(rowsOf(await windowsOf(pieces))).toEqual(ROWS.slice(30));
});

test('another file of the same name and row groups is read anew', async () => {
  const path = parquetFile(50);
  const [piece] = await Array.fromAsync(
    (await openSpineFile(path, 'parquet', { ...LIMITS, rowsMax: 20 })).pieces(),
  );
  await windowsOf([piece!]);
  const other = ROWS.map((row) => ({ ...row, id: 'another' }));
  writeFileSync(path, readFileSync(parquetFile(50, other)));
  expect(rowsOf(await windowsOf([piece!]))).toEqual(other.slice(0, piece!.rows));
});

test('texts that a dictionary has once are cut by what they become', async () => {
  const texts = Array.from({ length: 1_000 }, (_, row) => `${row % 10} ${'x'.repeat(10_000)}`);
  const path = fileOfTexts(texts);
  expect(statSync(path).size).toBeLessThan(10_000);
  const bytesMax = 2 ** 20;
  const pieces = await piecesOfFile(path, { bytesMax });
  expect(pieces.length).toBeGreaterThanOrEqual(10);
  const windows = await windowsOf(pieces);
  expect(rowsOf(windows).map(({ text }) => text)).toEqual(texts);
  const sizes = windows.map(({ batch }) => batch.getChildAt(0)!.data[0]!.values.byteLength);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(bytesMax);
});

test('numbers that are encoded in a few bits are cut by what they become', async () => {
  const path = parquetFile(50);
  const footer = await parquetMetadataAsync(await asyncBufferFromFile(path));
  const [size] = await groupSizes(await asyncBufferFromFile(path), footer, Infinity);
  // A moment and a label a row, and the offset of an id.
  expect(size!.bytes).toBeGreaterThan(50 * (8 + 4 + 4));
});

test('of texts the footer is believed before their dictionary is looked at', async () => {
  const path = fileOfTexts(['a', 'b']);
  const footer = await parquetMetadataAsync(await asyncBufferFromFile(path));
  const { meta_data } = footer.row_groups[0]!.columns[0]!;
  meta_data!.size_statistics = { unencoded_byte_array_data_bytes: 7_000n };
  const unread = { byteLength: 0, slice: () => expect.unreachable() };
  expect(await groupSizes(unread, footer, Infinity)).toEqual([{ rows: 2, bytes: 7_000 + 2 * 4 }]);
});

test('a row group of which any row takes more memory than a thread has is refused', async () => {
  const path = fileOfTexts(['x'.repeat(4 * 2 ** 20), 'y']);
  expect(statSync(path).size).toBeLessThan(10_000);
  await expect(piecesOfFile(path, { bytesMax: 2 ** 18 })).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringMatching(
      /^any row of row group 1 of the spine .* for the column text, the limit is 2097152: write smaller/,
    ),
  });
  const groupBytesMax = 16 * 2 ** 20;
  expect(await piecesOfFile(path, { bytesMax: 2 ** 18, groupBytesMax })).toHaveLength(2);
});

test('rows that become far more than the footer lets expect are refused as they are read', async () => {
  const long = 'x'.repeat(100_000);
  const texts = Array.from({ length: 4_000 }, (_, row) => (row < 3_950 ? `${row}` : long));
  const pieces = await piecesOfFile(fileOfTexts(texts), { rowsMax: 4_000, bytesMax: 2 ** 18 });
  expect(rowsOf(await windowsOf(pieces.slice(0, 1)))[0]).toEqual({ text: '0' });
  await expect(windowsOf(pieces)).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringMatching(/more than 2097152 bytes in memory from row \d+ to 4000/),
  });
});

test('texts whose size nobody tells count with those of their dictionary', async () => {
  const texts = Array.from({ length: 1_000 }, (_, row) => `${row % 10} ${'x'.repeat(998)}`);
  const file = await asyncBufferFromFile(fileOfTexts(texts));
  const footer = await parquetMetadataAsync(file);
  delete footer.row_groups[0]!.columns[0]!.meta_data!.size_statistics;
  const [size] = await groupSizes(file, footer, Infinity);
  // In a dictionary a text has its length in front, in an Arrow column its offset.
  expect(size).toEqual({ rows: 1_000, bytes: 1_000 * (1_000 + 4 + 4) });
});

test('a footer that says it has any number of rows is refused before they are cut', async () => {
  const file = await asyncBufferFromFile(fileOfTexts(['a', 'b']));
  const footer = await parquetMetadataAsync(file);
  footer.row_groups[0]!.num_rows = 2n ** 60n;
  await expect(groupSizes(file, footer, Infinity)).rejects.toThrow('other numbers of rows');
  expect(() => rangesOf([{ rows: 2 ** 60, bytes: 2 ** 60 }], LIMITS)).toThrow(
    expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
  );
});

test('categories are those of their row group, each of which has its own', async () => {
  const texts = ['a', 'b', 'c', 'a', 'd', 'b'];
  const path = fileOfTexts(texts, { groupRows: 2, type: new Dictionary(new Utf8(), new Int32()) });
  const windows = await windowsOf(await piecesOfFile(path, {}));
  expect(String(windows[0]!.batch.schema.fields[0]!.type)).toBe('Dictionary<Int32, Utf8>');
  expect(rowsOf(windows).map(({ text }) => text)).toEqual(texts);
});

test('an empty file is one piece of no rows, with its schema', async () => {
  const source = await openSpineFile(parquetFile(50, []), 'parquet', LIMITS);
  const [window] = await windowsOf(await Array.fromAsync(source.pieces()));
  expect([window!.batch.numRows, window!.batch.schema.names]).toEqual([0, ['id', 'at', 'label']]);
});

test('what is no Parquet file, or is cut short, is refused', async () => {
  const path = join(tempDirectory(), 'spine.parquet');
  for (const [bytes, why] of [
    ['', 'it is empty; expected a file that ends with a footer'],
    ['PAR1PAR1', 'it is cut short at 8 bytes'],
    ['id,at\n1,2\n3,4\n', ''],
    ['PAR1 something PAR1', ''],
  ] as const) {
    writeFileSync(path, bytes);
    // oxlint-disable-next-line no-await-in-loop
    await expect(openSpineFile(path, 'parquet', LIMITS)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining(`the spine cannot be read as Parquet: ${why}`),
    });
  }
});

test('a column without a name is refused', async () => {
  const table = new ArrowTable({ id: vectorFromArray(['a'], new Utf8()) }).batches[0]!;
  const nameless = tableToIPC(new ArrowTable([renamed(table, '')]), 'stream');
  const path = join(tempDirectory(), 'spine.parquet');
  writeFileSync(path, writeParquet(Table.fromIPCStream(nameless)));
  await expect(openSpineFile(path, 'parquet', LIMITS)).rejects.toThrow(
    'column 1 of the spine has no name',
  );
});

function renamed({ data }: RecordBatch, name: string): RecordBatch {
  const fields = [new Field(name, new Utf8(), true)];
  const { length, children } = data;
  return new RecordBatch(
    new Schema(fields),
    makeData({ type: new Struct(fields), length, nullCount: 0, children }),
  );
}
