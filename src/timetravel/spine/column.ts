import type { Data, DataType, Utf8 } from 'apache-arrow';

import { TidemarkError } from '../../ground/errors.ts';
import type { SpineWindow } from './window.ts';

const NAMES_SHOWN = 20;

/** The window's column of that name. Throws BAD_REQUEST, with the columns that there are. */
export function mustGetColumn({ batch }: SpineWindow, column: string): Data {
  const at = batch.schema.fields.findIndex(({ name }) => name === column);
  if (at < 0) {
    const names = batch.schema.names.slice(0, NAMES_SHOWN).join(', ');
    throw new TidemarkError(
      'BAD_REQUEST',
      `the spine has no column ${column}; it has ${names || 'none'}: say which one is meant ` +
        'with timestamp_column or id_columns',
    );
  }
  return batch.data.children[at]!;
}

/** More columns than any table of training rows has: each costs memory for each row of a window. */
const COLUMNS_MAX = 16_384;

/**
 * Throws BAD_REQUEST where two columns have one name: nobody could say which is meant, and where one
 * has none; LIMIT_EXCEEDED where there are too many.
 */
export function refuseTwins(names: readonly string[]): void {
  refuseTooMany(names.length);
  refuseNameless(names);
  const known = new Set<string>();
  for (const name of names) {
    if (!known.has(name)) known.add(name);
    else
      throw new TidemarkError(
        'BAD_REQUEST',
        `the spine has two columns ${name}: rename one of them`,
      );
  }
}

/** Throws BAD_REQUEST: what reads an answer takes such a column for one called null, or for none. */
export function refuseNameless(names: readonly (string | null)[]): void {
  const at = names.findIndex((name) => name === '' || name === null);
  if (at < 0) return;
  throw new TidemarkError(
    'BAD_REQUEST',
    `column ${at + 1} of the spine has no name: name it, or leave it out`,
  );
}

/** Throws LIMIT_EXCEEDED. */
export function refuseTooMany(columns: number): void {
  if (columns <= COLUMNS_MAX) return;
  throw new TidemarkError(
    'LIMIT_EXCEEDED',
    `the spine has more than ${COLUMNS_MAX} columns: leave some out, or put them into one as JSON`,
  );
}

/** A column whose type can be nothing of what is expected. */
export function wrongType(column: string, type: DataType, expected: string): TidemarkError {
  // Every type can say what it is called; only the class that they share does not declare it.
  const name = (type as Utf8).toString();
  return new TidemarkError('BAD_REQUEST', `column ${column} is ${name}, expected ${expected}`);
}

/** True where the row of the column is not null. */
export function isValid(data: Data, row: number): boolean {
  const { nullBitmap, offset } = data;
  // A bitmap of no bytes says that nothing is null.
  if (nullBitmap === undefined || nullBitmap.length === 0) return true;
  const bit = offset + row;
  return (nullBitmap[bit >> 3]! & (1 << (bit & 7))) !== 0;
}

/** Where the texts of a column stand in its bytes. */
export interface Texts {
  bytes: Buffer;
  /** One more than rows. */
  offsets: Int32Array;
}

/** The texts of a column of utf8 or large_utf8. Throws BAD_REQUEST where its offsets are damaged. */
export function textsOf(data: Data, column: string): Texts {
  const { length } = data;
  const values = (data.values ?? new Uint8Array(0)) as Uint8Array;
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const wide = data.valueOffsets as Int32Array | BigInt64Array | undefined;
  // A column of no rows may leave out even its one offset.
  if (length === 0 || wide === undefined) return { bytes, offsets: new Int32Array(1) };
  const offsets = wide instanceof Int32Array ? wide : Int32Array.from(wide, Number);
  let last = 0;
  for (let row = 0; row <= length; row++) {
    const offset = offsets[row]!;
    if (!(offset >= last)) throw damaged(column);
    last = offset;
  }
  if (last > bytes.length) throw damaged(column);
  return { bytes, offsets };
}

export function damaged(column: string): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    `column ${column}: its values lie outside of its bytes; the spine is damaged`,
  );
}
