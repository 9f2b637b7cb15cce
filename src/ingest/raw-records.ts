import { TidemarkError } from '../ground/errors.ts';
import type { Dtype } from '../store/dtype.ts';
import type { SourceConfig } from './source-config.ts';
import {
  type Fact,
  keyEntityId,
  parseUtf8,
  recordTime,
  type SourceRecord,
} from './source-record.ts';
import { parseTimeField } from './time-field.ts';

/** The model version that a source is bound to. */
export interface MappingTarget {
  version: string;
  dim: number;
  dtype: Dtype;
}

export type RawConfig = Extract<SourceConfig, { format: 'raw' }>;

/**
 * Reads records of the format `raw`: the key is the entity id, the value the vector's bytes, the
 * rest stands in headers. A null value is a delete, at the time that its header says.
 */
export function rawReader(config: RawConfig, target: MappingTarget) {
  return (record: SourceRecord, now: number): Fact => {
    const entityId = keyEntityId(record);
    const event = eventTime(config, record);
    const known = knownTime(config, record, event, now);
    if (record.value === null) return { kind: 'delete', entityId, event, known };
    checkHeaders(record, target);
    return { kind: 'vector', vector: { bytes: record.value }, entityId, event, known };
  };
}

function eventTime(config: RawConfig, record: SourceRecord): number {
  if (config.event_timestamp === 'record') return recordTime(record);
  const isDelete = record.value === null;
  const written = header(record, 'tidemark-event-timestamp');
  if (written === undefined && isDelete && config.delete_timestamp === 'record') {
    return recordTime(record);
  }
  return headerTime('tidemark-event-timestamp', written);
}

function knownTime(config: RawConfig, record: SourceRecord, event: number, now: number): number {
  switch (config.known_timestamp) {
    case 'record':
      return recordTime(record);
    case 'arrival':
      return now;
    case 'event':
      return event;
    default:
      return headerTime('tidemark-known-timestamp', header(record, 'tidemark-known-timestamp'));
  }
}

/** Nothing about bytes tells what they are, so the record must say so, and be right (A14). */
function checkHeaders(record: SourceRecord, { version, dim, dtype }: MappingTarget): void {
  if (header(record, 'tidemark-version') === undefined) {
    throw new TidemarkError(
      'BAD_RECORD',
      `the record has no header tidemark-version, expected ${version}`,
    );
  }
  const type = header(record, 'tidemark-dtype');
  if (type !== dtype) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${type ?? 'no value'} in the header tidemark-dtype, expected ${dtype}`,
    );
  }
  const count = header(record, 'tidemark-dim');
  if (count !== undefined && count !== String(dim)) {
    throw new TidemarkError(
      'BAD_VECTOR',
      `got ${count} in the header tidemark-dim, expected ${dim}`,
    );
  }
}

/** RFC 3339, or whole microseconds. */
function headerTime(name: string, written: string | undefined): number {
  if (written === undefined) {
    throw new TidemarkError('BAD_TIMESTAMP', `the record has no header ${name}, expected a time`);
  }
  return parseTimeField(written, /^-?\d+$/.test(written) ? 'us' : 'rfc3339');
}

/** The text of a header, or undefined where the record does not have it. */
export function header({ headers }: SourceRecord, name: string): string | undefined {
  return Object.hasOwn(headers, name) ? parseUtf8(headers[name]!, `header ${name}`) : undefined;
}
