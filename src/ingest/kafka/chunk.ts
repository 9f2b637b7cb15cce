import type { KafkaMessage } from 'kafkajs';

import { MICROS_PER_MILLI } from '../../ground/time.ts';
import type { DeadLetter, RevisionBatch } from '../../store/batch.ts';
import type { MapRecord } from '../mapping.ts';
import type { Prepare } from '../prepare.ts';
import type { MappedRecord, Rejection, SourceRecord } from '../source-record.ts';

/** Records in a row of one partition, ready to be committed together with the offset after them. */
export interface Chunk {
  rows: RevisionBatch;
  deadLetters: DeadLetter[];
  skipped: number;
  /** The timestamp of the last record, µs. */
  reached: number;
}

interface ChunkParts {
  config: { name: string };
  map: MapRecord;
  prepare: Prepare;
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
 * letters. `now` is when they arrived, µs. Rejects only as `prepare` does.
 */
export async function buildChunk(
  { config, map, prepare }: ChunkParts,
  records: readonly SourceRecord[],
  now: number,
): Promise<Chunk> {
  const source = config.name;
  const deadLetters: DeadLetter[] = [];
  const mapped: MappedRecord[] = [];
  const mappedFrom: SourceRecord[] = [];
  let skipped = 0;
  for (const record of records) {
    const mapping = map(record, now);
    if (mapping.kind === 'rejected') deadLetters.push(deadLetter(source, record, mapping));
    else if (mapping.kind === 'skip') skipped++;
    else {
      mapped.push(mapping);
      mappedFrom.push(record);
    }
  }
  const { rows, rejected } = await prepare(mapped);
  for (const reason of rejected) {
    deadLetters.push(deadLetter(source, mappedFrom[reason.index]!, reason));
  }
  return { rows, deadLetters, skipped, reached: records.at(-1)!.timestamp };
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
