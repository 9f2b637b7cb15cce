import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetSchema,
} from 'hyparquet';

import { refuseTwins } from './column.ts';
import { noParquet, type RowGroup } from './parquet.ts';
import type { PieceLimits } from './records.ts';
import type { SpinePiece } from './window.ts';

type ParquetPiece = Extract<SpinePiece, { format: 'parquet' }>;

/** What a Parquet file is cut into: ranges of rows, of whole row groups where these are small. */
export async function planParquet(path: string, limits: PieceLimits): Promise<ParquetPiece[]> {
  const footer = await readFooter(path);
  refuseTwins(parquetSchema(footer).children.map(({ element }) => element.name));
  const groups = footer.row_groups.map((group) => ({
    rows: Number(group.num_rows),
    bytes: Number(group.total_byte_size),
  }));
  return rangesOf(groups, limits).map(({ firstRow, rows }) => ({
    format: 'parquet',
    firstRow,
    rows,
    path,
  }));
}

/** By code of JavaScript: what reads the pages may panic, which this thread would not survive. */
async function readFooter(path: string): Promise<FileMetaData> {
  try {
    return await parquetMetadataAsync(await asyncBufferFromFile(path));
  } catch (error) {
    throw noParquet(error);
  }
}

/** One range of no rows where there are none. */
export function rangesOf(
  groups: readonly RowGroup[],
  { rowsMax, bytesMax }: PieceLimits,
): { firstRow: number; rows: number }[] {
  const ranges: { firstRow: number; rows: number }[] = [];
  let [firstRow, rows, bytes] = [0, 0, 0];
  const cut = () => {
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
