import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';

import type { RecordBatch } from 'apache-arrow';
import type { ParquetFile, ReaderOptions } from 'parquet-wasm/node';

import { TidemarkError } from '../../ground/errors.ts';
import { decodeBatches } from './arrow.ts';
import type { SpinePiece, SpineWindow } from './window.ts';

type ParquetPiece = Extract<SpinePiece, { format: 'parquet' }>;

/** Rows and bytes, uncompressed, of a row group. */
export interface RowGroup {
  rows: number;
  bytes: number;
}

/**
 * Opens a file and uses it. Throws BAD_REQUEST for what is no Parquet file.
 *
 * Only for threads beside the main one: damaged pages may make parquet-wasm panic, in a callback of
 * its own that nobody can catch, which would end the process. Here it fails the file.
 */
async function withParquet<Result>(
  path: string,
  use: (file: ParquetFile) => Promise<Result>,
): Promise<Result> {
  // Imported on first use: it is megabytes of code that most servers never need.
  const { ParquetFile: File } = await import('parquet-wasm/node');
  const panic = Promise.withResolvers<never>();
  const onUncaught = (error: Error) => {
    // WebAssembly's own error, of which the types do not know.
    if (error.name !== 'RuntimeError') throw error;
    panic.reject(error);
  };
  process.on('uncaughtException', onUncaught);
  try {
    return await Promise.race([openAndUse(), panic.promise]);
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    throw noParquet(error);
  } finally {
    process.off('uncaughtException', onUncaught);
  }

  async function openAndUse(): Promise<Result> {
    using file = await File.fromFile(await openAsBlob(path));
    return await use(file);
  }
}

export function noParquet(cause: unknown): TidemarkError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TidemarkError('BAD_REQUEST', `the spine cannot be read as Parquet: ${why}`, { cause });
}

/** The row groups of a file, in order. */
function rowGroupsOf(file: ParquetFile): RowGroup[] {
  using metadata = file.metadata();
  return metadata.rowGroups().map((group) => {
    const size = { rows: group.numRows(), bytes: group.totalByteSize() };
    group.free();
    return size;
  });
}

/** A row group of at most so many bytes is decoded once for all pieces of it that come in a row. */
const HELD_BYTES_MAX = 256 * 2 ** 20;
const FEW_PIECES = 4;

/**
 * The row group that was decoded last in this thread. To read some rows of a group is to decompress
 * most of it, and writers like groups of a million rows.
 */
let held: { key: string; batch: RecordBatch } | undefined;

/** Reads a piece: of the row groups that it lies in, its rows. */
export async function readParquet(piece: ParquetPiece): Promise<SpineWindow> {
  const { firstRow } = piece;
  const nameOf = (row: number) => `row ${firstRow + row + 1}`;
  return { firstRow, batch: await batchOf(piece), nameOf };
}

async function batchOf({ path, firstRow, rows }: ParquetPiece): Promise<RecordBatch> {
  const { size, mtimeMs } = await stat(path);
  return withParquet(path, async (file) => {
    const all = rowGroupsOf(file);
    const { rowGroups, offset } = groupsOf(all, firstRow, rows);
    const [first] = rowGroups;
    if (first === undefined) {
      return decodeBatches(file.schema().intoIPCStream());
    }
    const group = all[first]!;
    const key = `${path} ${size} ${mtimeMs} ${first}`;
    const isPart = rowGroups.length === 1 && rows < group.rows;
    if (!isPart || held?.key !== key) {
      held = undefined;
      // Other threads take most of the few pieces, and behind the last there is none.
      const isAlone = !isPart || rows > group.rows / FEW_PIECES || offset + rows === group.rows;
      if (isAlone || group.bytes > HELD_BYTES_MAX) {
        return decode(file, { rowGroups, offset, limit: rows, batchSize: rows });
      }
      held = { key, batch: await decode(file, { rowGroups, batchSize: group.rows }) };
    }
    const { batch } = held;
    if (offset + rows === group.rows) held = undefined;
    return batch.slice(offset, offset + rows);
  });
}

async function decode(file: ParquetFile, options: ReaderOptions): Promise<RecordBatch> {
  return decodeBatches((await file.read(options)).intoIPCStream());
}

/** The row groups that hold these rows, and how far into the first of them they begin. */
function groupsOf(
  groups: readonly RowGroup[],
  firstRow: number,
  rows: number,
): { rowGroups: number[]; offset: number } {
  const rowGroups: number[] = [];
  let [begin, offset] = [0, 0];
  groups.forEach((group, at) => {
    const end = begin + group.rows;
    if (end > firstRow && begin < firstRow + rows) {
      if (rowGroups.length === 0) offset = firstRow - begin;
      rowGroups.push(at);
    }
    begin = end;
  });
  return { rowGroups, offset };
}
