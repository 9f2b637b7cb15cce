import { parseInstant } from '../../ground/time.ts';
import type { TextColumn, TextPiece } from './window.ts';

type Type = TextColumn['type'];

/** What a value of a text column becomes: a number of its column, a text. Undefined: it fits not. */
export type Read = (value: unknown) => number | boolean | string | undefined;

/** Kinds of values, as bits. */
const INT = 1;
const WIDE = 2;
const FLOAT = 4;
const BOOL = 8;
const STRING = 16;
const NESTED = 32;

const CSV_INT = /^-?(?:0|[1-9]\d{0,15})$/;
const CSV_FLOAT = /^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** More digits than a number keeps, or a code that only looks like a number: leading zeros. */
const CSV_DIGITS = /^-?(?:\d{16,}|0\d+)$/;
const CSV_BOOLS = new Map([
  ['true', true],
  ['True', true],
  ['TRUE', true],
  ['false', false],
  ['False', false],
  ['FALSE', false],
]);

/** Finds the type of a column from its values. */
export class TypeFinder {
  private kinds = 0;
  private readonly kindOf: (value: unknown) => number;

  constructor(format: TextPiece['format']) {
    this.kindOf = format === 'csv' ? csvKind : jsonKind;
  }

  add(values: readonly unknown[]): void {
    for (const value of values) if (value !== null) this.kinds |= this.kindOf(value);
  }

  get type(): Type {
    const only = (kinds: number) => (this.kinds & ~kinds) === 0;
    if (this.kinds === 0) return 'string';
    // A number too wide for int64 is refused when its row is read: as a float64 it would be rounded.
    if (only(INT | WIDE)) return 'int64';
    if (only(INT | WIDE | FLOAT)) return 'float64';
    if (only(BOOL)) return 'bool';
    // Ids may be texts in one row and numbers in the next.
    if (only(STRING | INT)) return 'string';
    return 'json';
  }
}

function jsonKind(value: unknown): number {
  if (typeof value === 'string') return STRING;
  if (typeof value === 'boolean') return BOOL;
  if (typeof value !== 'number') return NESTED;
  if (Number.isSafeInteger(value)) return INT;
  return Number.isInteger(value) ? WIDE : FLOAT;
}

/** In CSV nothing is nested: whatever is mixed is text, and text it was. */
function csvKind(value: unknown): number {
  const text = value as string;
  if (isCsvInt(text)) return INT;
  if (CSV_FLOAT.test(text) && !CSV_DIGITS.test(text)) return FLOAT;
  return CSV_BOOLS.has(text) ? BOOL : STRING;
}

function isCsvInt(text: string): boolean {
  return CSV_INT.test(text) && Number.isSafeInteger(Number(text));
}

export const CSV_READERS: Readonly<Record<Type, (text: string) => ReturnType<Read>>> = {
  int64: (text) => (isCsvInt(text) ? Number(text) : undefined),
  float64: (text) => (CSV_FLOAT.test(text) ? Number(text) : undefined),
  bool: (text) => CSV_BOOLS.get(text),
  string: (text) => text,
  timestamp: momentIn,
  json: (text) => text,
};

export const JSON_READERS: Readonly<Record<Type, Read>> = {
  int64: (value) => (Number.isSafeInteger(value) ? (value as number) : undefined),
  float64: (value) => (typeof value === 'number' ? value : undefined),
  bool: (value) => (typeof value === 'boolean' ? value : undefined),
  string: textIn,
  timestamp: momentIn,
  json: (value) => JSON.stringify(value),
};

/** A text, or the decimal text of a whole number; not half of a surrogate pair, which has no UTF-8. */
function textIn(value: unknown): string | undefined {
  if (typeof value === 'string') return value.isWellFormed() ? value : undefined;
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

function momentIn(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    return parseInstant(value);
  } catch {
    return undefined;
  }
}
