import { isAscii, isUtf8 } from 'node:buffer';

import { AssertionFailed } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { parseObject } from '../formats/ndjson.ts';
import { refuseTooMany } from './column.ts';
import { isBlank, type Records } from './records.ts';

const NEWLINE = 0x0a;
const BLANK = /^[ \t\r]*$/;

/** Rows of text by column: null where a row has nothing. */
export type TextValues = Map<string, unknown[]>;

/**
 * Values, nulls too, that rows of text may be at most: where each row has columns of its own, few
 * bytes are many values. Rows that all have the same columns never are so many.
 */
const VALUES_MAX = 2 ** 26;
/** No value is written in less: `"":1,`. */
const VALUE_BYTES = 5;

/**
 * The objects of NDJSON, by column. Throws BAD_REQUEST, naming the line, for what is none, and
 * LIMIT_EXCEEDED for too many columns.
 */
export function parseNdjson(records: Records): TextValues {
  const bytes = bufferOf(records);
  if (!isUtf8(bytes)) refuseBadRow(bytes, records.firstLine);
  // Decoded whole: a line is then a slice of it.
  const text = bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
  const columns: TextValues = new Map();
  let row = 0;
  for (let from = 0; from < text.length;) {
    const found = text.indexOf('\n', from);
    const end = found < 0 ? text.length : found;
    const line = text.slice(from, end);
    from = end + 1;
    if (BLANK.test(line)) continue;
    const values = objectIn(line);
    if (values === undefined) refuseBadRow(bytes, records.firstLine);
    // Not Object.keys: a list for each row. What comes of JSON inherits nothing that is listed.
    // oxlint-disable-next-line guard-for-in
    for (const name in values) {
      let column = columns.get(name);
      if (column === undefined) {
        refuseManyValues(columns.size + 1, records);
        column = Array.from({ length: records.rows }, () => null);
        columns.set(name, column);
      }
      column[row] = values[name];
    }
    row++;
  }
  return columns;
}

function refuseManyValues(columns: number, { rows, bytes }: Records): void {
  refuseTooMany(columns);
  if (columns * rows <= Math.max(VALUES_MAX, bytes.byteLength / VALUE_BYTES)) return;
  throw new TidemarkError(
    'LIMIT_EXCEEDED',
    `${rows} rows of the spine have ${columns} columns together, and most of them have nothing ` +
      'there: leave columns out, or put them into one as JSON',
  );
}

/** Each row's object as it was written, without the closing brace and the line break. */
export function ownLines(records: Records): Buffer[] {
  const bytes = bufferOf(records);
  const lines: Buffer[] = [];
  forEachRow(bytes, (from, end) => {
    let [first, last] = [from, end - 1];
    while (isBlank(bytes, first, first + 1)) first++;
    while (isBlank(bytes, last, last + 1)) last--;
    // It is an object: here is its closing brace.
    while (isBlank(bytes, last - 1, last)) last--;
    lines.push(bytes.subarray(first, last));
  });
  return lines;
}

function objectIn(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Throws for the first line that is no object. */
function refuseBadRow(bytes: Buffer, firstLine: number): never {
  forEachRow(bytes, (from, end, line) => {
    parseObject(bytes.subarray(from, end), `line ${firstLine + line}`);
  });
  throw new AssertionFailed('a line that is no object is found again');
}

function bufferOf({ bytes }: Records): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Calls for each line that is not blank: its number from 0, where it begins and ends. */
function forEachRow(bytes: Buffer, visit: (from: number, end: number, line: number) => void): void {
  for (let from = 0, line = 0; from < bytes.length; line++) {
    const found = bytes.indexOf(NEWLINE, from);
    const end = found < 0 ? bytes.length : found;
    if (!isBlank(bytes, from, end)) visit(from, end, line);
    from = end + 1;
  }
}
