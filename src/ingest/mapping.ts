import { AssertionFailed } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { Schemas } from './formats/encodings.ts';
import { type ReadRecord, recordReader } from './formats/reader.ts';
import type { MappingTarget } from './formats/vector.ts';
import type { SourceConfig } from './source-config.ts';
import {
  badRecord,
  type Fact,
  header,
  type Mapping,
  rejection,
  type SourceRecord,
} from './source-record.ts';

/** What a record is, `now` being when it arrived, µs. Never throws for what a record holds. */
export type MapRecord = (record: SourceRecord, now: number) => Mapping;

/**
 * How the records of a source become revisions of one model version. `futureSkewMax` is in µs.
 *
 * A record that cannot become one is a rejection with one of the codes LIMIT_EXCEEDED, BAD_RECORD,
 * BAD_ENTITY_ID, BAD_TIMESTAMP, FUTURE_TIMESTAMP, BAD_VECTOR and BAD_INPUT. Whether the numbers of
 * a vector fit the version is found when it is written. Of the schemas that records name, `schemas`
 * must have been asked before.
 */
export function compileMapping(
  config: SourceConfig,
  target: MappingTarget,
  futureSkewMax: number,
  schemas: Schemas = NO_SCHEMAS,
): MapRecord {
  const readers = new Map<string, ReadRecord>();
  for (const [topic, mapping] of Object.entries(config.mappings)) {
    readers.set(topic, recordReader(mapping, target, schemas));
  }
  return (record, now) => {
    try {
      checkSize(record, config.max_value_bytes);
      checkVersion(record, target);
      const read = readers.get(record.topic);
      if (read === undefined) throw badRecord(`the topic is ${record.topic}`, 'one of the source');
      const fact = read(record, now);
      if (fact === undefined) return { kind: 'skip' };
      checkClocks(fact, futureSkewMax, now);
      const { part } = config.mappings[record.topic]!;
      return { ...fact, offset: record.offset, ...(part !== undefined && { part }) };
    } catch (error) {
      if (error instanceof TidemarkError || error instanceof AssertionFailed) {
        return rejection(error);
      }
      // Reading is a function of the record alone: what fails now fails at every try, and would
      // hold up the partition for ever.
      const message = `the record cannot be read: ${String(error)}`;
      return { kind: 'rejected', code: 'BAD_RECORD', message };
    }
  };
}

/** Of a source without a registry. */
const NO_SCHEMAS: Schemas = {
  avro(id) {
    throw badRecord(
      `the value names the schema ${id}`,
      'a source with a registry (kafka.registry)',
    );
  },
};

/** Before anything reads the value. */
function checkSize({ value }: SourceRecord, bytesMax: number): void {
  if (value !== null && value.byteLength > bytesMax) {
    throw new TidemarkError(
      'LIMIT_EXCEEDED',
      `the value has ${value.byteLength} bytes, expected at most ${bytesMax} (max_value_bytes)`,
    );
  }
}

/** Any format may name the version that a record is for; then it must be the source's (A14). */
function checkVersion(record: SourceRecord, { version }: MappingTarget): void {
  const named = header(record, 'tidemark-version');
  if (named !== undefined && named !== version) {
    throw new TidemarkError(
      'BAD_RECORD',
      `got ${named} in the header tidemark-version, expected ${version}`,
    );
  }
}

/** A13: a clock that runs ahead would hide what comes after it. */
function checkClocks({ event, known }: Fact, futureSkewMax: number, now: number): void {
  if (event > known + futureSkewMax) throw ahead('event', event, 'known', known, futureSkewMax);
  if (known > now + futureSkewMax) throw ahead('known', known, 'arrival', now, futureSkewMax);
}

function ahead(name: string, time: number, than: string, other: number, by: number): TidemarkError {
  const [early, late] = [formatInstant(other as Micros), formatInstant(time as Micros)];
  return new TidemarkError(
    'FUTURE_TIMESTAMP',
    `the ${name} time ${late} is after the ${than} time ${early}, ` +
      `expected at most ${by / 1e6} s (max_future_skew)`,
  );
}
