import type { IHeaders, KafkaMessage } from 'kafkajs';

import { MICROS_PER_MILLI } from '../../ground/time.ts';
import type { DeadLetter, HeaderValue, Outcome, RevisionBatch } from '../../store/batch.ts';
import type { FieldRow } from '../../store/fields.ts';
import type { SchemaRegistry } from '../formats/schema-registry.ts';
import type { MapRecord } from '../mapping.ts';
import type { Prepare } from '../prepare.ts';
import type { MappedRecord, Rejection, SourceRecord } from '../source-record.ts';

/** Records in a row of one partition, ready to be committed together with the offset after them. */
export interface Chunk {
  rows: RevisionBatch;
  deadLetters: DeadLetter[];
  /** See `CommitRequest`. */
  fields?: FieldRow[];
  /** To be called when the commit is over, however it went, or is not to come about. */
  release: () => void;
  skipped: number;
  /** The timestamp of each record, µs; negative where it has none. */
  timestamps: Float64Array;
}

interface ChunkParts {
  config: { name: string };
  map: MapRecord;
  prepare: Prepare;
  schemas?: Pick<SchemaRegistry, 'load'> | undefined;
}

/** A message as a record. Key and value are views of the fetched bytes, good until the commit. */
export function sourceRecord(
  topic: string,
  partition: number,
  message: KafkaMessage,
): SourceRecord {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    key: message.key,
    value: message.value,
    headers: headersOf(message.headers ?? {}),
    timestamp: Number(message.timestamp) * MICROS_PER_MILLI,
  };
}

function headersOf(given: IHeaders): SourceRecord['headers'] {
  const entries = Object.entries(given).map(([name, value]): [string, HeaderValue] => {
    if (!Array.isArray(value)) return [name, bytesOf(value)];
    // The client finds one more value under names that every object has, such as `constructor`.
    const values = value.filter(isHeaderValue).map(bytesOf);
    return [name, values.length === 1 ? values[0]! : values];
  });
  return Object.fromEntries(entries);
}

function isHeaderValue(value: unknown): value is string | Buffer | null {
  return value === null || typeof value === 'string' || Buffer.isBuffer(value);
}

function bytesOf(value: string | Buffer | null | undefined): Buffer | null {
  return typeof value === 'string' ? Buffer.from(value) : (value ?? null);
}

/**
 * Maps and prepares records of one partition, in order. Those that cannot become revisions are dead
 * letters. `now` is when they arrived, µs. Rejects only as `prepare` does, and when the registry of
 * their schemas does not answer.
 */
export async function buildChunk(
  { config, map, prepare, schemas }: ChunkParts,
  records: readonly SourceRecord[],
  now: number,
): Promise<Chunk> {
  const source = config.name;
  const deadLetters: DeadLetter[] = [];
  const mapped: MappedRecord[] = [];
  const mappedFrom: SourceRecord[] = [];
  let skipped = 0;
  await schemas?.load(records);
  for (const record of records) {
    const mapping = map(record, now);
    if (mapping.kind === 'rejected') deadLetters.push(deadLetter(source, record, mapping));
    else if (mapping.kind === 'skip') skipped++;
    else {
      mapped.push(mapping);
      mappedFrom.push(record);
    }
  }
  const { rows, rejected, fields, release = () => {}, ...passed } = await prepare(mapped);
  skipped += passed.skipped ?? 0;
  for (const reason of rejected) {
    deadLetters.push(deadLetter(source, mappedFrom[reason.index]!, reason));
  }
  const timestamps = Float64Array.from(records, ({ timestamp }) => timestamp);
  return { rows, deadLetters, ...(fields && { fields }), release, skipped, timestamps };
}

/** The outcome of each record that has one: of its own revision, which is its first. */
export function* outcomesOf(
  { offsets }: RevisionBatch,
  outcomes: readonly Outcome[],
): Iterable<Outcome> {
  for (let row = 0; row < outcomes.length; row++) {
    if (row === 0 || offsets[row] !== offsets[row - 1]) yield outcomes[row]!;
  }
}

function deadLetter(
  source: string,
  record: SourceRecord,
  { code, message }: Rejection,
): DeadLetter {
  const { topic, partition, offset, key, value, headers, timestamp } = record;
  return {
    position: { source, topic, partition, offset },
    reason: code,
    message,
    key,
    value,
    headers,
    timestamp,
  };
}
