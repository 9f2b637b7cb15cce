import { parseJson } from './json.ts';
import { payloadOf } from './wire-format.ts';

/**
 * JSON that Confluent's JSON Schema serialiser wrote. Its schema was checked there, and what matters
 * here, ids, times, vectors and fields, is checked where it is read: so the registry is not asked,
 * and no outage of it holds anything up.
 */
export function parseJsonSchema(bytes: Uint8Array): unknown {
  return parseJson(payloadOf(bytes));
}
