import { badRecord } from '../source-record.ts';
import type { Envelope, Message } from './envelopes.ts';
import { rowOf } from './row.ts';

/** Stands for a value that the database did not send along, since it did not change. */
const UNAVAILABLE = '__debezium_unavailable_value';
const UNAVAILABLE_BYTES = Buffer.from(UNAVAILABLE);
const UNAVAILABLE_BASE64 = UNAVAILABLE_BYTES.toString('base64');

/**
 * A row of a database before and after a change (what was before is known here, and not asked), with or without the schema that Kafka Connect's
 * JSON converter puts beside it.
 *
 * A delete is followed by a record without a value, which makes a compacted topic forget the row
 * and says nothing new.
 */
export const debezium: Envelope = {
  nullValue: 'skip',
  eventTimestamp: { path: 'source.ts_ms', unit: 'ms' },
  isUnsaid,
  open(wrapped) {
    const message = withoutSchema(wrapped) as Record<string, unknown>;
    const { op, before, after } = message;
    switch (op) {
      case 'c':
      case 'r':
      case 'u':
        return { message, row: mustHaveRow(after, 'after') };
      case 'd':
        return { message, row: rowOf(before ?? undefined, 'before'), isDelete: true };
      case 'm':
        // Somebody's message in the log of the database, about no row.
        return undefined;
      case 't':
        throw badRecord('the value says that a whole table was emptied', 'a change of one row');
      default:
        throw badRecord(
          `the value has ${op === undefined ? 'no op' : 'an op unknown here'}`,
          'a change by Debezium with the op c, u, d or r (debezium_flat reads rows without one)',
        );
    }
  },
};

/** What `ExtractNewRecordState` leaves of a change: the row, and whether it was deleted. */
export const debeziumFlat: Envelope = {
  isUnsaid,
  open(wrapped) {
    const message = withoutSchema(wrapped);
    const mark = (message as Record<string, unknown>)['__deleted'];
    return { message, row: message, isDelete: mark === true || mark === 'true' };
  },
};

/** The converter's wrapper has these two fields and no others; a row may have one of their names. */
function withoutSchema(message: Message): Message {
  if (!('payload' in message && 'schema' in message) || Object.keys(message).length !== 2) {
    return message;
  }
  const { payload } = message;
  if (typeof payload === 'object' && payload !== null && !Array.isArray(payload)) {
    return payload as Message;
  }
  throw badRecord('the value has a payload that is no object', 'one');
}

function mustHaveRow(value: unknown, name: string): unknown {
  const row = rowOf(value ?? undefined, name);
  if (row !== undefined) return row;
  throw badRecord(`the value has no ${name}`, 'the row after the change');
}

/** Also in the forms that columns of bytes and of arrays take. */
function isUnsaid(value: unknown): boolean {
  if (typeof value === 'string') return value === UNAVAILABLE || value === UNAVAILABLE_BASE64;
  if (Array.isArray(value)) return value.length === 1 && value[0] === UNAVAILABLE;
  return value instanceof Uint8Array && UNAVAILABLE_BYTES.equals(value);
}
