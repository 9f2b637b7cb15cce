import { Readable } from 'node:stream';

import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetSchema,
} from 'hyparquet';

import { TidemarkError } from '../../ground/errors.ts';
import { readMessages } from './arrow-messages.ts';
import { hasDictionary } from './arrow.ts';
import { refuseTwins } from './column.ts';
import { type GroupSize, groupSizes } from './parquet-sizes.ts';
import { noParquet } from './parquet.ts';
import type { PieceLimits } from './records.ts';
import type { ParquetPiece } from './window.ts';

/** Its first and last letters, and the length of its footer. */
const BYTES_MIN = 12;

/** A thread has so many times the bytes of a piece. */
const PIECES_A_THREAD = 8;
/** Fewer rows are not worth another thread's turn. */
const TURN_ROWS_MIN = 65_536;
/** After so many turns the last one does not matter. */
const TURNS_MAX = 16;
const BORDER_SHARE = 1 / 8;
/** What is read of a group at once is in memory up to so many times. */
const COPIES = 4;

/** Far more than any spine has; a footer may say that it has any number of rows. */
const RANGES_MAX = 2 ** 20;

/**
 * What a Parquet file is cut into: ranges of rows, of whole row groups where these are small. Throws
 * BAD_REQUEST for what is no Parquet file, LIMIT_EXCEEDED for row groups that a thread cannot read.
 */
export async function planParquet(path: string, limits: PieceLimits): Promise<ParquetPiece[]> {
  const { bytesMax, groupBytesMax = PIECES_A_THREAD * bytesMax } = limits;
  const { footer, groups } = await readGroups(path, groupBytesMax);
  refuseTwins(parquetSchema(footer).children.map(({ element }) => element.name));
  const heldBytesMax = Math.floor(groupBytesMax / COPIES);
  // A category has another dictionary in each group.
  const runs = (await hasCategories(footer)) ? groups.map((each) => [each]) : [groups];
  let [group, end] = [-1, 0];
  return rangesOfRuns(runs, limits).map(({ firstRow, rows }) => {
    while (firstRow + rows > end) end += groups[++group]!.rows;
    const isHeld = (groups[group]?.bytes ?? 0) <= heldBytesMax;
    return { format: 'parquet', firstRow, rows, path, bytesMax: groupBytesMax, isHeld };
  });
}

/** By code of JavaScript: what reads the pages may panic, which this thread would not survive. */
async function readGroups(
  path: string,
  groupBytesMax: number,
): Promise<{ footer: FileMetaData; groups: GroupSize[] }> {
  try {
    const file = await asyncBufferFromFile(path);
    const footer = await readFooter(file);
    return { footer, groups: await groupSizes(file, footer, groupBytesMax) };
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    throw noParquet(error);
  }
}

async function readFooter(file: AsyncBuffer): Promise<FileMetaData> {
  if (file.byteLength < BYTES_MIN) {
    const what =
      file.byteLength === 0 ? 'it is empty' : `it is cut short at ${file.byteLength} bytes`;
    throw new Error(`${what}; expected a file that ends with a footer and PAR1`);
  }
  return parquetMetadataAsync(file);
}

/** Whether the schema of Arrow that writers put beside Parquet's own has columns with dictionaries. */
async function hasCategories({ key_value_metadata = [] }: FileMetaData): Promise<boolean> {
  const text = key_value_metadata.find(({ key }) => key === 'ARROW:schema')?.value;
  if (text === undefined) return false;
  const stream = Readable.from([Buffer.from(text, 'base64')]);
  try {
    for await (const { message } of readMessages(stream)) {
      return message.isSchema() && hasDictionary(message.header().fields);
    }
    return false;
  } catch {
    // Whoever reads the pages says what is wrong with it.
    return true;
  }
}

/** Ranges of rows of which none goes beyond the run of groups that it is in. */
function rangesOfRuns(runs: readonly GroupSize[][], limits: PieceLimits): RowRange[] {
  let begin = 0;
  const ranges = runs.flatMap((groups) => {
    const from = begin;
    begin += groups.reduce((sum, { rows }) => sum + rows, 0);
    return rangesOf(groups, limits).map(({ firstRow, rows }) => ({
      firstRow: from + firstRow,
      rows,
    }));
  });
  const filled = ranges.filter(({ rows }) => rows > 0);
  return filled.length > 0 ? filled : [{ firstRow: 0, rows: 0 }];
}

interface RowRange {
  firstRow: number;
  rows: number;
}

/** One range of no rows where there are none. */
export function rangesOf(groups: readonly GroupSize[], limits: PieceLimits): RowRange[] {
  const { bytesMax } = limits;
  const rowsMax = evenRows(groups, limits);
  const ranges: RowRange[] = [];
  let [firstRow, rows, bytes] = [0, 0, 0];
  const cut = () => {
    if (ranges.length === RANGES_MAX) throw tooManyRanges(rowsMax, bytesMax);
    if (rows > 0) ranges.push({ firstRow, rows });
    firstRow += rows;
    [rows, bytes] = [0, 0];
  };
  for (const group of groups) {
    const count = Math.max(Math.ceil(group.rows / rowsMax), Math.ceil(group.bytes / bytesMax), 1);
    if (rows + group.rows > rowsMax || bytes + group.bytes > bytesMax) cut();
    if (count === 1) {
      rows += group.rows;
      bytes += group.bytes;
      continue;
    }
    const step = Math.max(1, Math.ceil(group.rows / count));
    for (let left = group.rows; left > 0; left -= rows) {
      if (rows > 0) cut();
      rows = Math.min(step, left);
    }
    cut();
  }
  cut();
  return ranges.length > 0 ? ranges : [{ firstRow: 0, rows: 0 }];
}

/**
 * How many rows a range has so that all threads end together: as many ranges as threads, or several
 * times as many. A little more, where that is a border of row groups.
 */
function evenRows(groups: readonly GroupSize[], { rowsMax, threads = 1 }: PieceLimits): number {
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const worth = Math.min(threads, Math.floor(rows / TURN_ROWS_MIN));
  const ranges = Math.ceil(rows / rowsMax);
  if (worth < 2 || ranges > TURNS_MAX * threads) return rowsMax;
  const even = rows / (Math.ceil(ranges / worth) * worth);
  return Math.min(rowsMax, Math.ceil(even * (1 + BORDER_SHARE)));
}

function tooManyRanges(rowsMax: number, bytesMax: number): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `the spine has more than ${RANGES_MAX} times the rows (${rowsMax}) or bytes (${bytesMax}) that ` +
      'are read at once: cut it, leave out columns of long texts, or raise exports.memory_bytes',
  );
}
