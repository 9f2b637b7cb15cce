import { TidemarkError } from '../../ground/errors.ts';
import { type Dtype, scaleOf, vectorBytes } from '../../store/dtype.ts';
import { fieldPath, lookupField } from '../field-path.ts';
import { badRecord, type GivenVector, header, type SourceRecord } from '../source-record.ts';
import type { MappingConfig } from './settings.ts';

/** The model version that a source is bound to. */
export interface MappingTarget {
  version: string;
  dim: number;
  dtype: Dtype;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The vector of a row, or undefined where it has none. A row that is bytes is the vector. Whether it
 * fits the version is seen when it is written there. Throws BAD_VECTOR, BAD_RECORD.
 */
export function vectorReader(
  config: MappingConfig,
  target: MappingTarget,
  isUnsaid: (value: unknown) => boolean,
): (row: unknown, record: SourceRecord) => GivenVector | undefined {
  const path = fieldPath(config.vector);
  const scaleOfRow = scaleReader(config, target);
  return (row, record) => {
    if (row instanceof Uint8Array) {
      checkHeaders(record, target);
      return wholeVector(row, target);
    }
    const value = lookupField(row, path) ?? undefined;
    if (value === undefined) return undefined;
    if (isUnsaid(value)) throw badVector('a value that the record does not tell', 'a vector');
    return { ...parseVector(value), ...scaleOfRow(row) };
  };
}

/** An array of numbers, or bytes, or base64 (RFC 4648, padded) of them, little-endian, in the dtype. */
function parseVector(value: unknown): GivenVector {
  if (Array.isArray(value)) {
    // What is no number would become one on its way into a typed array: null is 0 there.
    const wrong = value.findIndex((item) => typeof item !== 'number');
    if (wrong === -1) return { numbers: value as number[] };
    throw badVector(`${typeof value[wrong]} at position ${wrong}`, 'numbers only');
  }
  if (value instanceof Uint8Array) return { bytes: value };
  if (typeof value !== 'string') throw badVector(typeof value, 'an array of numbers, or base64');
  const bytes = Buffer.from(value, 'base64');
  // Buffer takes any text for base64 and drops what it cannot read. To look at each character takes
  // ten times as long as to see that all comes out as it went in.
  if (bytes.toString('base64') !== value && !BASE64.test(value)) {
    throw badVector('a string that is not base64', 'RFC 4648 with padding');
  }
  return { bytes };
}

/** Bytes that are all of a vector: those of int8 have their scale behind their numbers. */
function wholeVector(bytes: Uint8Array, { dim, dtype }: MappingTarget): GivenVector {
  if (dtype !== 'int8') return { bytes };
  const expected = vectorBytes(dim, dtype);
  if (bytes.byteLength !== expected) {
    throw badVector(
      `${bytes.byteLength} bytes`,
      `${expected}: ${dim} int8, and behind them their scale as float32`,
    );
  }
  return { bytes: bytes.subarray(0, dim), scale: scaleOf(bytes) };
}

/** Of other versions a field called scale is none of ours, unless the mapping says that it is. */
function scaleReader(
  { scale: asked }: MappingConfig,
  { dtype }: MappingTarget,
): (row: unknown) => { scale?: number } {
  const name = asked ?? (dtype === 'int8' ? 'scale' : undefined);
  if (name === undefined) return () => ({});
  const path = fieldPath(name);
  return (row) => {
    const scale = lookupField(row, path) ?? undefined;
    if (scale === undefined) return {};
    if (typeof scale === 'number') return { scale };
    throw new TidemarkError('BAD_VECTOR', `got ${typeof scale} for ${name}, expected a number`);
  };
}

/** Nothing about bytes tells what they are, so the record must say so, and be right (A14). */
function checkHeaders(record: SourceRecord, { version, dim, dtype }: MappingTarget): void {
  if (header(record, 'tidemark-version') === undefined) {
    throw badRecord('the record has no header tidemark-version', version);
  }
  const type = header(record, 'tidemark-dtype');
  if (type !== dtype) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${type ?? 'no value'} in the header tidemark-dtype, expected ${dtype}`,
    );
  }
  const count = header(record, 'tidemark-dim');
  if (count !== undefined && count !== String(dim)) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${count} in the header tidemark-dim, expected ${dim}`,
    );
  }
}

function badVector(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_VECTOR', `got ${got} for a vector, expected ${expected}`);
}
