import { TidemarkError } from '../../ground/errors.ts';
import { Pace } from '../../ground/pace.ts';
import { refuseTooMany } from './column.ts';
import { parseCsv, parseHeader } from './csv.ts';
import { parseNdjson } from './ndjson.ts';
import { cutRecords, type Records } from './records.ts';
import type { SpineLimits } from './source.ts';
import { TypeFinder } from './text-types.ts';
import type { TextColumn, TextPiece } from './window.ts';

/** Rows that are looked at in one turn of the event loop. */
const TURN_ROWS = 256;

/** The pieces of a spine of text, in order. */
export async function* textPieces(
  source: AsyncIterable<Uint8Array>,
  format: TextPiece['format'],
  limits: SpineLimits,
): AsyncGenerator<TextPiece> {
  const isQuoted = format === 'csv';
  let header: string[] | undefined;
  let columns: readonly TextColumn[] | undefined;
  let firstRow = 0;
  for await (const records of cutRecords(source, limits, { isQuoted, hasHeader: isQuoted })) {
    if (isQuoted && header === undefined) {
      header = parseHeader(records);
      continue;
    }
    columns ??= await findColumns(records, header, limits);
    yield { format, firstRow, columns, ...records };
    firstRow += records.rows;
  }
  if (isQuoted && header === undefined) {
    throw new TidemarkError(
      'BAD_REQUEST',
      'the CSV is empty, expected a first line with the names of its columns',
    );
  }
  if (columns === undefined) {
    const none = { rows: 0, firstLine: 1, bytes: new Uint8Array(0) };
    columns = await findColumns(none, header, limits);
    yield { format, firstRow, columns, ...none };
  }
}

/**
 * The columns that the first records have, by their names in CSV's header or in the order in which
 * they first come. A type is what was asked for, or what holds all values. Others have a turn of the
 * event loop in between.
 */
async function findColumns(
  { bytes, firstLine }: Records,
  header: readonly string[] | undefined,
  { columnTypes = {}, ...limits }: SpineLimits,
): Promise<TextColumn[]> {
  const format = header === undefined ? 'ndjson' : 'csv';
  const finders = new Map(header?.map((name) => [name, new TypeFinder(format)]));
  const pace = new Pace();
  const turns = cutRecords(
    [bytes],
    { ...limits, rowsMax: TURN_ROWS },
    {
      isQuoted: header !== undefined,
      firstLine,
    },
  );
  for await (const records of turns) {
    const values = header === undefined ? parseNdjson(records) : parseCsv(records, header);
    for (const [name, column] of values) {
      const finder = finders.get(name) ?? new TypeFinder(format);
      finders.set(name, finder);
      finder.add(column);
    }
    refuseTooMany(finders.size);
    await pace.rest();
  }
  // A column of NDJSON may come later: what was said of it is then all that is known.
  for (const name of Object.keys(columnTypes)) {
    if (finders.has(name)) continue;
    if (header !== undefined) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `column_types has ${name}, which the CSV has not: ${header.slice(0, 20).join(', ')}`,
      );
    }
    finders.set(name, new TypeFinder(format));
  }
  return Array.from(finders, ([name, { type }]) => ({
    name,
    type: Object.hasOwn(columnTypes, name) ? columnTypes[name]! : type,
  }));
}
