import { badRecord } from '../source-record.ts';
import type { Envelope } from './envelopes.ts';
import { rowOf } from './row.ts';

/**
 * `{key, value, previousValue, metadata}`: a row, the row that was there before, and what is known
 * of the change. Each may stand in a text as JSON. Without a value, or with the OpCode DELETE, it
 * is a delete.
 */
export const brooklin: Envelope = {
  eventTimestamp: { path: 'metadata.EventTimestamp', unit: 'ms' },
  open(given) {
    const { key, value, previousValue, metadata } = given as Record<string, unknown>;
    if (value === undefined && metadata === undefined) {
      throw badRecord('the value has neither value nor metadata', '{key, value, metadata}');
    }
    const about = rowOf(metadata ?? undefined, 'metadata') as Record<string, unknown> | undefined;
    const row = rowOf(value ?? undefined, 'value');
    const before = rowOf(previousValue ?? undefined, 'previousValue');
    const isDelete = row === undefined || about?.['OpCode'] === 'DELETE';
    return {
      message: { key, value: row, previousValue: before, metadata: about },
      row: row ?? before,
      isDelete,
      id: idOf(key),
    };
  },
};

/** A key that is an object, or JSON of one, has the id where a row has it. */
function idOf(key: unknown): unknown {
  return typeof key === 'string' && key.startsWith('{') ? rowOf(key, 'key') : (key ?? undefined);
}
