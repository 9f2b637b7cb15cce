import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  Int32,
  Table as ArrowTable,
  tableToIPC,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { Table, WriterPropertiesBuilder, writeParquet } from 'parquet-wasm/node';
import { expect, test } from 'vitest';

import { rangesOf } from '../../../src/timetravel/spine/parquet-source.ts';
import { openSpineFile } from '../../../src/timetravel/spine/source.ts';
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

test('pieces go on at the border where an earlier run left off', async () => {
  const source = await openSpineFile(parquetFile(50), 'parquet', { ...LIMITS, rowsMax: 20 });
  const pieces = await Array.fromAsync(source.pieces(34));
  expect(pieces.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([[34, 16]]);
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

test('an empty file is one piece of no rows, with its schema', async () => {
  const source = await openSpineFile(parquetFile(50, []), 'parquet', LIMITS);
  const [window] = await windowsOf(await Array.fromAsync(source.pieces()));
  expect([window!.batch.numRows, window!.batch.schema.names]).toEqual([0, ['id', 'at', 'label']]);
});

test('what is no Parquet file, or is cut short, is refused', async () => {
  const path = join(tempDirectory(), 'spine.parquet');
  for (const bytes of ['', 'id,at\n1,2\n', Buffer.from('PAR1 something PAR1')]) {
    writeFileSync(path, bytes);
    // oxlint-disable-next-line no-await-in-loop
    await expect(openSpineFile(path, 'parquet', LIMITS)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('the spine cannot be read as Parquet'),
    });
  }
});
