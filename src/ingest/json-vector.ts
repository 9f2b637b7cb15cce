import { TidemarkError } from '../ground/errors.ts';
import type { GivenVector } from './source-record.ts';

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The vector that a JSON value holds: an array of numbers, or base64 (RFC 4648, padded) of a
 * vector's bytes, little-endian, in the version's dtype. Whether it fits the version is seen when
 * it is written there. Throws BAD_VECTOR.
 */
export function parseJsonVector(value: unknown): GivenVector {
  if (Array.isArray(value)) {
    // What is no number would become one on its way into a typed array: null is 0 there.
    const wrong = value.findIndex((item) => typeof item !== 'number');
    if (wrong === -1) return { numbers: value as number[] };
    throw badVector(`${typeof value[wrong]} at position ${wrong}`, 'numbers only');
  }
  if (typeof value !== 'string') throw badVector(typeof value, 'an array of numbers, or base64');
  // Buffer takes any text for base64 and drops what it cannot read.
  if (!BASE64.test(value)) throw badVector('a string that is not base64', 'RFC 4648 with padding');
  return { bytes: Buffer.from(value, 'base64') };
}

function badVector(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_VECTOR', `got ${got} for a vector, expected ${expected}`);
}
