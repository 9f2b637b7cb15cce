import { openAsBlob } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { makeData, RecordBatch, Schema, Struct } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { makeFolder } from '../../store/folders.ts';
import { arrowStreamOf } from '../formats/arrow.ts';
import type { Column } from '../join/columns.ts';
import { decodeBatches } from '../spine/arrow.ts';
import { WRITING } from './layout.ts';

/** A row group is read at once. */
const GROUP_ROWS_MAX = 2 ** 17;

/** Folders are flushed to the disk side by side. */
const FOLDERS_AT_ONCE = 16;

let written = 0;

/**
 * Puts a file into a table: it is on the disk when it gets its name, and takes the place of one that
 * has it. That the name is on the disk too is for `syncFolders` to see to.
 */
export async function putFile(
  table: string,
  path: string,
  chunks: readonly Uint8Array[],
): Promise<void> {
  const temporary = join(table, WRITING, String(written++));
  const file = await open(temporary, 'w');
  try {
    for (const chunk of chunks) await file.writeFile(chunk);
    await file.sync();
  } finally {
    await file.close();
  }
  makeFolder(join(table, dirname(path)));
  await rename(temporary, join(table, path));
}

/** Brings the names of these files of a table, and those of their folders, to the disk. */
export async function syncFolders(table: string, paths: readonly string[]): Promise<void> {
  const folders = new Set(['.']);
  for (const path of paths) {
    for (let at = dirname(path); !folders.has(at); at = dirname(at)) folders.add(at);
  }
  const all = [...folders];
  while (all.length > 0) {
    await Promise.all(
      all.splice(-FOLDERS_AT_ONCE).map(async (folder) => syncFolder(join(table, folder))),
    );
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export function batchOf(columns: readonly Column[]): RecordBatch {
  const fields = columns.map(({ field }) => field);
  const children = columns.map(({ data }) => data);
  const { length } = children[0]!;
  const type = new Struct(fields);
  return new RecordBatch(new Schema(fields), makeData({ type, length, nullCount: 0, children }));
}

/** A batch as a Parquet file, compressed. */
export async function encodeParquet(batch: RecordBatch): Promise<Uint8Array> {
  const { Compression, Table, writeParquet, WriterPropertiesBuilder } =
    await import('parquet-wasm/node');
  const properties = new WriterPropertiesBuilder()
    .setCompression(Compression.ZSTD)
    .setMaxRowGroupSize(GROUP_ROWS_MAX)
    .build();
  return writeParquet(Table.fromIPCStream(arrowStreamOf(batch)), properties);
}

/** These columns of a file, or all. Throws STORE_CORRUPT for what is no Parquet file. */
export async function readParquet(
  table: string,
  path: string,
  columns?: string[],
): Promise<RecordBatch> {
  const { ParquetFile } = await import('parquet-wasm/node');
  const blob = await openAsBlob(join(table, path));
  try {
    using file = await ParquetFile.fromFile(blob);
    const read = await file.read({ batchSize: GROUP_ROWS_MAX, ...(columns && { columns }) });
    return decodeBatches(read.intoIPCStream());
  } catch (error) {
    throw new TidemarkError(
      'STORE_CORRUPT',
      `the file ${path} of the lake table ${table} cannot be read ` +
        `(${error instanceof Error ? error.message : String(error)}): export into an empty directory`,
      { cause: error },
    );
  }
}
