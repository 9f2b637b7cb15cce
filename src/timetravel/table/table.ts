import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import { planParquet } from '../spine/parquet-source.ts';
import { ndjsonRows } from './ndjson.ts';
import type { TableColumns, TableRows } from './rows.ts';
import type { TableReply, TableTask } from './worker.ts';

export interface TableFile {
  path: string;
  format: 'ndjson' | 'parquet';
}

/** Of a line of NDJSON. */
const LINE_BYTES_MAX = 2 ** 24;
/** Rows and bytes of a Parquet file that are in memory at once. */
const PIECE = { rowsMax: 8_192, bytesMax: 2 ** 26, lineBytesMax: LINE_BYTES_MAX };

/**
 * The rows of a file from that one on. Throws BAD_REQUEST for what is not in that format, or has not
 * these columns, LIMIT_EXCEEDED for rows that are too long.
 */
export async function* readTable(
  { path, format }: TableFile,
  columns: TableColumns,
  from: number,
): AsyncGenerator<TableRows> {
  if (format === 'ndjson') yield* ndjsonRows(path, columns, from, LINE_BYTES_MAX);
  else yield* parquetRows(path, columns, from);
}

/** Read in a thread of its own: what reads pages that are damaged may end its thread. */
async function* parquetRows(
  path: string,
  columns: TableColumns,
  from: number,
): AsyncGenerator<TableRows> {
  const plan = await planParquet(path, PIECE);
  const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
  try {
    for (const piece of plan) {
      const end = piece.firstRow + piece.rows;
      if (end <= from && from > 0) continue;
      const firstRow = Math.max(piece.firstRow, from);
      const task: TableTask = { piece: { ...piece, firstRow, rows: end - firstRow }, columns };
      worker.postMessage(task, []);
      // Rejects with what ended the thread.
      const [reply] = (await once(worker, 'message')) as [TableReply];
      if ('code' in reply) throw new TidemarkError(reply.code, reply.message);
      yield reply;
    }
  } finally {
    await worker.terminate();
  }
}
