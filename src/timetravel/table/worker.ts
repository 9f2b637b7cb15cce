import { parentPort } from 'node:worker_threads';

import { type Data, makeVector, Vector } from 'apache-arrow';

import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import { mustGetColumn } from '../spine/column.ts';
import { idsOf } from '../spine/ids.ts';
import { momentsOf } from '../spine/moments.ts';
import { readParquet } from '../spine/parquet.ts';
import type { ParquetPiece, SpineWindow } from '../spine/window.ts';
import type { TableColumns, TableRows } from './rows.ts';

/** A piece of a Parquet file, and what is wanted of it. */
export interface TableTask {
  piece: ParquetPiece;
  columns: TableColumns;
}

export type TableReply = TableRows | { code: ErrorCode; message: string };

const port = parentPort!;
port.on('message', (task: TableTask) => void answer(task));

async function answer({ piece, columns }: TableTask): Promise<void> {
  let reply: TableReply;
  try {
    reply = rowsOf(await readParquet(piece), columns);
  } catch (error) {
    const code = error instanceof TidemarkError ? error.code : 'INTERNAL';
    reply = { code, message: error instanceof Error ? error.message : String(error) };
  }
  port.postMessage(reply, []);
}

function rowsOf(window: SpineWindow, columns: TableColumns): TableRows {
  const { ids, ordinals } = idsOf(window, columns.id);
  return {
    firstRow: window.firstRow,
    ids: Array.from(ordinals, (ordinal) => ids[ordinal] ?? null),
    times: Object.fromEntries(columns.times.map((name) => [name, momentsOf(window, name)])),
    values: Object.fromEntries(
      columns.values.map((name) => [name, valuesOf(mustGetColumn(window, name))]),
    ),
    broken: new Map(),
  };
}

function valuesOf(data: Data): unknown[] {
  return Array.from(makeVector(data), plain);
}

/** A list comes as another vector, which is not to be sent to another thread. */
function plain(value: unknown): unknown {
  return value instanceof Vector ? Array.from(value, plain) : value;
}
