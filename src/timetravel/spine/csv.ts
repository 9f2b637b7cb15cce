import { isUtf8 } from 'node:buffer';

import { CsvError, parse } from 'csv-parse/sync';

import { TidemarkError } from '../../ground/errors.ts';
import { refuseTwins } from './column.ts';
import type { TextValues } from './ndjson.ts';
import { lineOfRow, type Records } from './records.ts';

/** The names of the columns. Throws BAD_REQUEST where one is empty, or is there twice. */
export function parseHeader(records: Records): string[] {
  const [names = []] = parseRecords(records, true);
  const empty = names.findIndex((name) => name === null || name === '');
  if (empty >= 0) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `column ${empty + 1} of the CSV has no name, expected a first line with the names of all`,
    );
  }
  refuseTwins(names as string[]);
  return names as string[];
}

/**
 * Records of CSV (RFC 4180), by column: texts, null where a field is empty and not quoted. Throws
 * BAD_REQUEST, naming the line, for a record that has not one field for each column.
 */
export function parseCsv(records: Records, names: readonly string[]): TextValues {
  const rows = parseRecords(records, false);
  const odd = rows.findIndex((row) => row.length !== names.length);
  if (odd >= 0) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `line ${lineOfRow(records, odd, true)} has ${rows[odd]!.length} fields, ` +
        `expected ${names.length} as the header has`,
    );
  }
  return new Map(names.map((name, at) => [name, rows.map((row) => row[at]!)]));
}

function parseRecords(records: Records, isFirst: boolean): (string | null)[][] {
  const { bytes, firstLine } = records;
  if (!isUtf8(bytes)) {
    throw new TidemarkError('BAD_REQUEST', `the CSV is not UTF-8, at or after line ${firstLine}`);
  }
  let rows: (string | null)[][];
  try {
    rows = parse(bytes, {
      bom: isFirst,
      // Only the parser can tell "" from nothing at all.
      cast: (text, { quoting }) => (text === '' && !quoting ? null : text),
      record_delimiter: ['\r\n', '\n'],
      relax_column_count: true,
      skip_empty_lines: true,
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = firstLine + Number(error['lines'] ?? 1) - 1;
    throw badQuotes(`line ${line}`, error);
  }
  // By the quotes so far records were cut; a quote within a field that has none around it is stray.
  if (rows.length !== records.rows) throw badQuotes(`at or after line ${firstLine}`);
  return rows;
}

function badQuotes(where: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `${where}: the quotes of the CSV are not in order, expected them as in RFC 4180`,
    { cause },
  );
}
