import { badRecord } from '../source-record.ts';

/** A row of an envelope: an object, or one that stands in a text as JSON. Undefined stays so. */
export function rowOf(value: unknown, name: string): unknown {
  if (value === undefined) return undefined;
  const row = typeof value === 'string' ? parseRow(value, name) : value;
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row;
  throw badRecord(`the value has a ${name} that is no object`, 'an object, or JSON of one');
}

function parseRow(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRecord(`the ${name} in the value is not JSON (${(error as Error).message})`, 'it');
  }
}
