import type { KafkaMessage } from 'kafkajs';

import { MICROS_PER_MILLI } from '../../ground/time.ts';
import type { DeadLetter, Outcome, RevisionBatch } from '../../store/batch.ts';
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
  /** The timestamp of the last record, µs. */
  reached: number;
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
  const headers: Record<string, Uint8Array> = {};
  const given = message.headers ?? {};
  for (const name in given) {
    // Of headers with one name the last is the one that Kafka's own clients look up.
    const value = Array.isArray(given[name]) ? given[name].at(-1) : given[name];
    if (typeof value === 'string') headers[name] = Buffer.from(value);
    else if (value) headers[name] = value;
  }
  return {
    topic,
    partition,
    offset: Number(message.offset),
    key: message.key,
    value: message.value,
    headers,
    timestamp: Number(message.timestamp) * MICROS_PER_MILLI,
  };
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
  const reached = records.at(-1)!.timestamp;
  return { rows, deadLetters, ...(fields && { fields }), release, skipped, reached };
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
