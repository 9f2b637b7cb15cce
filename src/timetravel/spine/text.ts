import { Field, makeData, RecordBatch, Schema, Struct } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import { excerpt } from '../../ground/excerpt.ts';
import { refuseNameless } from './column.ts';
import { parseCsv } from './csv.ts';
import { ownLines, parseNdjson, type TextValues } from './ndjson.ts';
import { lineOfRow } from './records.ts';
import { columnData } from './text-columns.ts';
import { CSV_READERS, JSON_READERS, type Read } from './text-types.ts';
import type { SpineWindow, TextColumn, TextPiece } from './window.ts';

/** How a piece of a spine is read. */
export interface ReadOptions {
  /**
   * NDJSON that is answered in NDJSON: the window's `lines` are what is answered, and its batch
   * serves to find ids and moments. Every column is of texts (whole numbers as their decimal text),
   * null where a value is neither, and a row may have columns that no row before it had.
   */
  loose?: boolean;
}

/** Makes a window of a piece of text. Throws BAD_REQUEST, naming the line. */
export function readText(piece: TextPiece, { loose = false }: ReadOptions): SpineWindow {
  const { format, columns, firstRow } = piece;
  const values =
    format === 'csv'
      ? parseCsv(
          piece,
          columns.map(({ name }) => name),
        )
      : parseNdjson(piece);
  const nameOf = (row: number) => `line ${lineOfRow(piece, row, format === 'csv')}`;
  const isLoose = loose && format === 'ndjson';
  const wanted = isLoose ? looseColumns(columns, values) : columns;
  if (!isLoose) {
    refuseNewColumns(columns, values, nameOf);
    refuseNameless(columns.map(({ name }) => name));
  }
  const data = wanted.map(({ name, type }) => {
    const column = values.get(name) ?? Array.from({ length: piece.rows }, () => null);
    const read = (format === 'csv' ? CSV_READERS : JSON_READERS)[type] as Read;
    return columnData(type, column, read, (row) => {
      if (!isLoose) throw misfit(nameOf(row), { name, type }, column[row]);
    });
  });
  const fields = wanted.map(({ name }, at) => new Field(name, data[at]!.type, true));
  const batch = new RecordBatch(
    new Schema(fields),
    makeData({ type: new Struct(fields), length: piece.rows, nullCount: 0, children: data }),
  );
  return { firstRow, batch, nameOf, ...(isLoose && { lines: ownLines(piece) }) };
}

function looseColumns(columns: readonly TextColumn[], values: TextValues): TextColumn[] {
  const names = new Set([...columns.map(({ name }) => name), ...values.keys()]);
  return [...names].map((name) => ({ name, type: 'string' }));
}

/** An answer in columns has those of its first piece. */
function refuseNewColumns(
  columns: readonly TextColumn[],
  values: TextValues,
  nameOf: (row: number) => string,
): void {
  if (values.size <= columns.length && columns.every(({ name }) => values.has(name))) return;
  const names = new Set(columns.map(({ name }) => name));
  for (const [name, column] of values) {
    if (names.has(name)) continue;
    const row = column.findIndex((value) => value !== null);
    throw new TidemarkError(
      'BAD_REQUEST',
      `${nameOf(Math.max(0, row))} has a column ${name}, which the first rows of the spine have ` +
        `not: say column_types=${name}:string, or what its type is`,
    );
  }
}

function misfit(line: string, { name, type }: TextColumn, value: unknown): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `${line}: column ${name}: got ${excerpt(value)}, which is no ${type}, as the first rows of ` +
      `the spine or column_types have it: say column_types=${name}:${remedyOf(type, value)}`,
  );
}

/** A type that holds the value. */
function remedyOf(type: TextColumn['type'], value: unknown): string {
  if (typeof value === 'number' && type === 'int64') return 'float64';
  return typeof value === 'string' && type !== 'string' ? 'string' : 'json';
}
