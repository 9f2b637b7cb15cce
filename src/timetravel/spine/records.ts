import { TidemarkError } from '../../ground/errors.ts';

const NEWLINE = 0x0a;
const QUOTE = 0x22;

/** Of how many rows and bytes a piece may be. A record that is longer is a piece of its own. */
export interface PieceLimits {
  rowsMax: number;
  bytesMax: number;
  lineBytesMax: number;
  /** How many pieces are read at once, where it is worth while to have them alike. */
  threads?: number;
  /** Of Parquet: what a thread may have in memory to read of a row group; what it has, if not set. */
  groupBytesMax?: number;
}

/** Consecutive whole records. */
export interface Records {
  /** Not the blank ones. */
  rows: number;
  /** The number of the line that they begin with, from 1. */
  firstLine: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Cuts text into runs of records; a record ends with its line. `isQuoted`, as in CSV: not with one
 * that is within quotes, which it is as long as the quotes so far are odd. `hasHeader`: the first
 * record is a run of its own. `firstLine`: what its first line is called.
 * Throws LIMIT_EXCEEDED for a record longer than `lineBytesMax`.
 */
export async function* cutRecords(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limits: PieceLimits,
  { isQuoted = false, hasHeader = false, firstLine = 1 } = {},
): AsyncGenerator<Records> {
  const isEmpty = isQuoted ? isBare : isBlank;
  // Whole records, and behind them what there is of the next one.
  let run: Uint8Array[] = [];
  let runBytes = 0;
  let rows = 0;
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  let isOpen = false;
  let line = firstLine;
  let restLine = firstLine;
  let runLine = firstLine;
  let rowsMax = hasHeader ? 1 : limits.rowsMax;
  const cut = (): Records => {
    const records = { rows, firstLine: runLine, bytes: joined(run, runBytes) };
    [run, runBytes, rows, runLine, rowsMax] = [[], 0, 0, restLine, limits.rowsMax];
    return records;
  };
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    // In this chunk: where what is not in the run yet begins, where the record, and the search.
    let [kept, begin, from] = [0, 0, 0];
    let quote = isQuoted ? bytes.indexOf(QUOTE) : -1;
    for (;;) {
      const found = bytes.indexOf(NEWLINE, from);
      const end = found < 0 ? bytes.length : found + 1;
      for (; quote >= 0 && quote < end; quote = bytes.indexOf(QUOTE, quote + 1)) isOpen = !isOpen;
      const recordBytes = restBytes + end - begin;
      if (recordBytes - (found < 0 ? 0 : 1) > limits.lineBytesMax) {
        throw tooLong(restLine, limits);
      }
      if (found < 0) break;
      from = end;
      line++;
      if (isOpen) continue;
      const isRow = !(isEmpty(bytes, begin, found) && rest.every((part) => isEmpty(part)));
      const isFull = rows === rowsMax || runBytes + begin - kept + recordBytes > limits.bytesMax;
      if (isRow && rows > 0 && isFull) {
        take(begin);
        yield cut();
      }
      for (const part of rest) {
        run.push(part);
        runBytes += part.length;
      }
      [rest, restBytes] = [[], 0];
      if (isRow) rows++;
      begin = end;
      restLine = line;
    }
    take(begin);
    if (begin < bytes.length) {
      rest.push(bytes.subarray(begin));
      restBytes += bytes.length - begin;
    }

    function take(until: number): void {
      if (until <= kept) return;
      run.push(bytes.subarray(kept, until));
      runBytes += until - kept;
      kept = until;
    }
  }
  if (isOpen) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `line ${restLine}: a quote is opened and never closed: the CSV is cut short, or not in order`,
    );
  }
  if (!rest.every((part) => isEmpty(part))) {
    if (rows > 0 && (rows === rowsMax || runBytes + restBytes > limits.bytesMax)) yield cut();
    run.push(...rest);
    runBytes += restBytes;
    rows++;
  }
  if (rows > 0) yield cut();
}

function tooLong(line: number, { lineBytesMax }: PieceLimits): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `line ${line} is longer than the limit of ${lineBytesMax} bytes`,
  );
}

/** True where there is nothing but spaces, tabs and carriage returns. */
export function isBlank(bytes: Uint8Array, from = 0, end = bytes.length): boolean {
  for (let at = from; at < end; at++) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  }
  return true;
}

/** In CSV spaces are a value. */
function isBare(bytes: Uint8Array, from = 0, end = bytes.length): boolean {
  return end === from || (end - from === 1 && bytes[from] === 0x0d);
}

/** The parts in memory of their own, which can be handed to another thread. */
export function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The number of the line where a row begins, among records that begin with `firstLine`. */
export function lineOfRow(
  { bytes, firstLine }: Pick<Records, 'bytes' | 'firstLine'>,
  row: number,
  isQuoted: boolean,
): number {
  let [rows, line, begin, beginLine, isOpen] = [0, firstLine, 0, firstLine, false];
  for (let at = 0; at < bytes.length; at++) {
    if (isQuoted && bytes[at] === QUOTE) isOpen = !isOpen;
    if (bytes[at] !== NEWLINE) continue;
    line++;
    if (isOpen) continue;
    if (!(isQuoted ? isBare : isBlank)(bytes, begin, at) && rows++ === row) return beginLine;
    [begin, beginLine] = [at + 1, line];
  }
  return beginLine;
}
