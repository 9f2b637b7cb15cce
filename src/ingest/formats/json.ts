import { badRecord, parseUtf8 } from '../source-record.ts';
import { SCHEMA_HEADER } from './wire-format.ts';

/**
 * Of keys that stand twice in an object the last one counts, and whole numbers beyond 2^53 come out
 * as the nearest that JavaScript has; ids, times and prompts refuse those.
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes[0] === SCHEMA_HEADER) {
    throw badRecord('the value starts with the header of a schema registry', 'plain JSON');
  }
  const text = parseUtf8(bytes, 'value');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRecord(`the value is not JSON (${(error as Error).message})`, 'a JSON object');
  }
}
