import { isUtf8 } from 'node:buffer';

import { type ErrorCode, TidemarkError } from '../ground/errors.ts';
import type { HeaderValue } from '../store/batch.ts';
import { parseEntityId } from '../store/entity-id.ts';

/** A record as a source delivers it, before anybody has looked inside. */
export interface SourceRecord {
  topic: string;
  partition: number;
  offset: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers: Readonly<Record<string, HeaderValue>>;
  /** The record's own timestamp, µs; negative when it has none. */
  timestamp: number;
}

/**
 * A pre-computed vector: numbers to round to the version's dtype, or bytes that are of it; of int8
 * with their scale.
 */
export type GivenVector = ({ numbers: readonly number[] } | { bytes: Uint8Array }) & {
  scale?: number;
};

/**
 * The value of a field that has one which the record does not tell, as Debezium's
 * `__debezium_unavailable_value` stands for. It is no text, and never embedded.
 */
export const UNSAID: unique symbol = Symbol('a value that the record does not tell');

/** Fields of an entity by name, as one record has them: any of them may be UNSAID. */
export type TextFields = Record<string, unknown>;

/** What a record says about one entity, and when that became true and known, µs. */
export type Fact = { entityId: string; event: number; known: number } & (
  | { kind: 'vector'; vector: GivenVector }
  | { kind: 'text'; fields: TextFields }
  | { kind: 'delete' }
);

/** A record that is to become a revision. */
export type MappedRecord = Fact & { offset: number; part?: string };

/** Why a record cannot become a revision. */
export interface Rejection {
  kind: 'rejected';
  code: ErrorCode;
  message: string;
}

/** What a record is: a revision to be, a dead letter, or nothing to note. */
export type Mapping = MappedRecord | Rejection | { kind: 'skip' };

/** The rejection that an error stands for; what is not about the record is thrown on. */
export function rejection(error: unknown): Rejection {
  if (!(error instanceof TidemarkError)) throw error;
  return { kind: 'rejected', code: error.code, message: error.message };
}

/** A record that is not what its source was said to deliver. */
export function badRecord(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_RECORD', `${got}, expected ${expected}`);
}

/** The text of bytes from outside, which must be UTF-8. */
export function parseUtf8(bytes: Uint8Array, what: string): string {
  if (!isUtf8(bytes)) {
    throw new TidemarkError('BAD_RECORD', `the ${what} is not UTF-8, expected well-formed UTF-8`);
  }
  const { buffer, byteOffset, byteLength } = bytes;
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, byteLength)).toString();
}

/** The entity id that the record's key is. Throws BAD_ENTITY_ID. */
export function keyEntityId({ key }: SourceRecord): string {
  if (key === null) {
    throw new TidemarkError('BAD_ENTITY_ID', 'the record has no key, expected the entity id');
  }
  if (!isUtf8(key)) {
    throw new TidemarkError('BAD_ENTITY_ID', 'the key is not UTF-8, expected the entity id');
  }
  return parseEntityId(parseUtf8(key, 'key'));
}

/**
 * The text of a header, or undefined where the record does not have it or it has no value. Of those
 * with one name the last is the one that Kafka's own clients look up. Throws BAD_RECORD.
 */
export function header({ headers }: SourceRecord, name: string): string | undefined {
  const given = Object.hasOwn(headers, name) ? headers[name]! : null;
  const value = given === null || given instanceof Uint8Array ? given : given.at(-1)!;
  return value === null ? undefined : parseUtf8(value, `header ${name}`);
}

/** The record's own timestamp, µs. Throws BAD_TIMESTAMP. */
export function recordTime({ timestamp }: SourceRecord): number {
  if (timestamp >= 0) return timestamp;
  throw new TidemarkError('BAD_TIMESTAMP', 'the record has no timestamp, expected one');
}
