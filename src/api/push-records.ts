import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros, micros, parseInstant } from '../ground/time.ts';
import { DELETED, type RevisionBatch } from '../store/batch.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import { entityErased } from '../store/commit.ts';
import { parseEntityId } from '../store/entity-id.ts';
import type { TextInput } from './deps.ts';
import { isPerhapsMisread } from './media.ts';
import type { Rejection } from './problem.ts';
import { type PushRecord, pushRecord } from './schemas/push.ts';
import { writeSentVector } from './sent-vector.ts';

/** What a row's vector is. */
export const VECTOR = 0;
export const TOMBSTONE = 1;
export const TEXT = 2;

/** The records that can be stored, in columns and in their order, and those that cannot. */
export class PushRows {
  /** Position of each row's record among the request's. */
  readonly indexes: number[] = [];
  readonly entityIds: string[] = [];
  /** µs */
  readonly events: number[] = [];
  /** µs */
  readonly knowns: number[] = [];
  /** `VECTOR`, `TOMBSTONE` or `TEXT`. */
  readonly kinds: number[] = [];
  /** A vector's payload in the batch it was written to, or a text's place among the inputs. */
  readonly sources: number[] = [];
  /** Which part of its entity a row is about, where it says. */
  readonly parts: (string | undefined)[] = [];
  readonly inputs: TextInput[] = [];
  readonly rejected: Rejection[] = [];

  reject(index: number, error: unknown): void {
    if (!(error instanceof TidemarkError)) throw error;
    this.rejected.push({ index, code: error.code, message: error.message });
  }
}

/** What records are read by. */
export interface RecordRules {
  /** Known at the event time, rather than now, where the record does not say. */
  isKnownAtEvent: boolean;
  /** µs */
  now: number;
  /** µs (A13) */
  maxFutureSkew: number;
  textBytesMax: number;
  /** Came as MessagePack, which has integers for times; in JSON a number would not say its unit. */
  isPacked: boolean;
  /** Whether nothing may be stored about the entity (A8). */
  isErased(id: string): boolean;
  /** Where vectors go, and room for them; throws VERSION_REQUIRED where that is not clear (A14). */
  vectors(): { version: ModelVersion; batch: RevisionBatch };
  /** Throws NO_MODEL where there is none to embed a text. */
  requireModel(): void;
}

/** No single record is to blame for what the request does not say: it is refused whole. */
const OF_THE_REQUEST = 'VERSION_REQUIRED';

/**
 * Reads the records one by one: each becomes a row or is rejected with its index, a code and what
 * was expected. A record may be the error that kept it from being parsed.
 */
export function readRecords(records: readonly unknown[], rules: RecordRules): PushRows {
  const rows = new PushRows();
  for (let index = 0; index < records.length; index++) {
    try {
      readRecord(records[index], index, rules, rows);
    } catch (error) {
      if (error instanceof TidemarkError && error.code === OF_THE_REQUEST) throw error;
      rows.reject(index, error);
    }
  }
  return rows;
}

function readRecord(value: unknown, index: number, rules: RecordRules, rows: PushRows): void {
  const record = shapeOf(value);
  const entityId = parseEntityId(record.entity_id);
  if (rules.isPacked && isPerhapsMisread(entityId)) {
    throw new TidemarkError(
      'BAD_ENTITY_ID',
      'got an entity id with U+FFFD, which is what bytes that are not UTF-8 come out as; expected UTF-8',
    );
  }
  if (rules.isErased(entityId)) throw entityErased(entityId);
  const event = momentOf(record.event_timestamp, 'event_timestamp', rules);
  const known =
    record.known_timestamp === undefined
      ? rules.isKnownAtEvent
        ? event
        : rules.now
      : momentOf(record.known_timestamp, 'known_timestamp', rules);
  refuseFuture(event, known, rules);
  const [kind, source] = sourceOf(record, rules, rows);
  rows.indexes.push(index);
  rows.entityIds.push(entityId);
  rows.events.push(event);
  rows.knowns.push(known);
  rows.kinds.push(kind);
  rows.sources.push(source);
  rows.parts.push(record.part);
}

function shapeOf(value: unknown): PushRecord {
  if (value instanceof TidemarkError) throw value;
  const { data, error } = pushRecord.safeParse(value);
  if (error !== undefined) {
    const issues = error.issues.map(({ path, message }) => [...path, message].join(': '));
    throw new TidemarkError('BAD_RECORD', issues.join('; '));
  }
  return data;
}

function momentOf(value: unknown, field: string, { isPacked }: RecordRules): number {
  if (typeof value === 'string') return parseInstant(value);
  if (isPacked && typeof value === 'number') return micros(value);
  throw new TidemarkError(
    'BAD_TIMESTAMP',
    `got ${value === null ? 'null' : `a ${typeof value}`} for ${field}, expected RFC 3339 with an offset` +
      (isPacked ? ' or whole microseconds since the epoch' : ''),
  );
}

/** Refuses times ahead of the clock by more than the skew (A13). */
function refuseFuture(event: number, known: number, { now, maxFutureSkew }: RecordRules): void {
  const ahead =
    event > known + maxFutureSkew
      ? (['event_timestamp', event, 'known_timestamp', known] as const)
      : known > now + maxFutureSkew
        ? (['known_timestamp', known, 'clock', now] as const)
        : undefined;
  if (ahead === undefined) return;
  const [what, time, bound, limit] = ahead;
  throw new TidemarkError(
    'FUTURE_TIMESTAMP',
    `the ${what} ${formatInstant(time as Micros)} is more than max_future_skew (${maxFutureSkew / 1e6} s) ` +
      `after the ${bound} ${formatInstant(limit as Micros)}`,
  );
}

function sourceOf(record: PushRecord, rules: RecordRules, rows: PushRows): [number, number] {
  const { vector, deleted, text, fields } = record;
  const given = [vector, deleted, text, fields].filter((each) => each !== undefined).length;
  if (given !== 1) {
    throw new TidemarkError(
      'BAD_RECORD',
      `got ${given} of vector, deleted, text and fields, expected exactly one`,
    );
  }
  if (record.part !== undefined && deleted === undefined && fields === undefined) {
    throw new TidemarkError('BAD_RECORD', 'got a part, expected fields or deleted beside it');
  }
  if (record.scale !== undefined && (vector ?? undefined) === undefined) {
    throw new TidemarkError('BAD_RECORD', 'got a scale, expected a vector beside it');
  }
  if (deleted !== undefined || vector === null) return [TOMBSTONE, DELETED];
  if (vector !== undefined) return [VECTOR, writeVector(vector, record.scale, rules)];
  rules.requireModel();
  const bytes = Buffer.byteLength(text ?? jsonOf(fields!));
  if (bytes > rules.textBytesMax) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `got ${bytes} bytes of ${text === undefined ? 'fields' : 'text'}, the limit text_bytes is ${rules.textBytesMax}`,
    );
  }
  rows.inputs.push(text === undefined ? { fields: fields! } : { text });
  return [TEXT, rows.inputs.length - 1];
}

/** Throws BAD_INPUT for fields nested so deep, or of such MessagePack values, that JSON has none. */
function jsonOf(fields: Record<string, unknown>): string {
  try {
    return JSON.stringify(fields);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TidemarkError(
      'BAD_INPUT',
      `the fields cannot be written as JSON: ${why}; expected values that a prompt can read`,
      { cause: error },
    );
  }
}

/** The payload that the vector became. Throws BAD_VECTOR. */
function writeVector(vector: unknown, scale: unknown, rules: RecordRules): number {
  const { version, batch } = rules.vectors();
  writeSentVector(vector, version, batch.nextPayload(), scale);
  return batch.addFilled();
}
