import { TidemarkError } from '../../ground/errors.ts';
import type { Dtype } from '../../store/dtype.ts';
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
  return (row, record) => {
    if (row instanceof Uint8Array) {
      checkHeaders(record, target);
      return { bytes: row };
    }
    const value = lookupField(row, path) ?? undefined;
    if (value === undefined) return undefined;
    if (isUnsaid(value)) throw badVector('a value that the record does not tell', 'a vector');
    return parseVector(value);
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
  // Buffer takes any text for base64 and drops what it cannot read.
  if (!BASE64.test(value)) throw badVector('a string that is not base64', 'RFC 4648 with padding');
  return { bytes: Buffer.from(value, 'base64') };
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
