import { createReadStream } from 'node:fs';

import { TidemarkError } from '../../ground/errors.ts';
import { parseInstant } from '../../ground/time.ts';
import { parseObject, readLines } from '../formats/ndjson.ts';
import { TABLE_ROWS, type TableColumns, type TableRows } from './rows.ts';

/** Reads NDJSON from a row on; lines that are blank are no rows. */
export async function* ndjsonRows(
  path: string,
  columns: TableColumns,
  from: number,
  lineBytesMax: number,
): AsyncGenerator<TableRows> {
  let row = -1;
  let rows = emptyRows(from, columns);
  for await (const { number, bytes } of readLines(createReadStream(path), lineBytesMax)) {
    if (++row < from) continue;
    add(rows, columns, number, bytes);
    if (rows.ids.length < TABLE_ROWS) continue;
    yield rows;
    rows = emptyRows(row + 1, columns);
  }
  if (rows.ids.length > 0) yield rows;
}

function emptyRows(firstRow: number, { times, values }: TableColumns): TableRows {
  return {
    firstRow,
    ids: [],
    times: Object.fromEntries(
      times.map((name) => [name, new Float64Array(TABLE_ROWS).fill(Number.NaN)]),
    ),
    values: Object.fromEntries(values.map((name) => [name, []])),
    broken: new Map(),
  };
}

function add(rows: TableRows, columns: TableColumns, number: number, bytes: Buffer): void {
  const at = rows.ids.length;
  let record: Record<string, unknown> = {};
  try {
    record = parseObject(bytes, `line ${number}`);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    rows.broken.set(at, error.message);
  }
  const valueOf = (name: string): unknown => (Object.hasOwn(record, name) ? record[name] : null);
  const id = valueOf(columns.id);
  rows.ids.push(Number.isSafeInteger(id) ? String(id) : typeof id === 'string' ? id : null);
  for (const name of columns.times) rows.times[name]![at] = momentOf(valueOf(name));
  for (const name of columns.values) rows.values[name]!.push(valueOf(name));
}

function momentOf(value: unknown): number {
  if (typeof value !== 'string') return Number.NaN;
  try {
    return parseInstant(value);
  } catch {
    return Number.NaN;
  }
}
