import { AssertionFailed } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import { jsonReader } from './json-records.ts';
import { header, type MappingTarget, rawReader } from './raw-records.ts';
import type { SourceConfig } from './source-config.ts';
import { type Fact, type Mapping, rejection, type SourceRecord } from './source-record.ts';

/** What a record is, `now` being when it arrived, µs. Never throws for what a record holds. */
export type MapRecord = (record: SourceRecord, now: number) => Mapping;

/**
 * How the records of a source become revisions of one model version. `futureSkewMax` is in µs.
 *
 * A record that cannot become one is a rejection with one of the codes LIMIT_EXCEEDED, BAD_RECORD,
 * BAD_ENTITY_ID, BAD_TIMESTAMP, FUTURE_TIMESTAMP, BAD_VECTOR and BAD_INPUT. Whether the numbers of
 * a vector fit the version is found when it is written.
 */
export function compileMapping(
  config: SourceConfig,
  target: MappingTarget,
  futureSkewMax: number,
): MapRecord {
  const read = config.format === 'raw' ? rawReader(config, target) : jsonReader(config);
  return (record, now) => {
    if (record.value === null && config.null_value === 'skip') return { kind: 'skip' };
    try {
      checkSize(record, config.max_value_bytes);
      checkVersion(record, target);
      const fact = read(record, now);
      checkClocks(fact, futureSkewMax, now);
      return { ...fact, offset: record.offset };
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
