import { TidemarkError } from '../../ground/errors.ts';
import { fieldPath, lookupField } from '../field-path.ts';
import { header, recordTime, type SourceRecord } from '../source-record.ts';
import { parseTimeField } from '../time-field.ts';
import type { Message } from './envelopes.ts';
import type { MappingConfig, TimeConfig } from './settings.ts';

/** A time of a record, µs; `message` is undefined where the record has no value. */
type ReadTime = (record: SourceRecord, message: Message | undefined) => number;

/** The times that a record tells. They throw BAD_TIMESTAMP. */
export interface Times {
  event: ReadTime;
  known(record: SourceRecord, message: Message | undefined, event: number, now: number): number;
}

export function timesReader(config: MappingConfig): Times {
  return { event: eventReader(config), known: knownReader(config.known_timestamp) };
}

function timeReader(config: TimeConfig): ReadTime {
  if (config === 'record') return recordTime;
  const { unit } = config;
  if ('header' in config) {
    const { header: name } = config;
    return (record) => {
      const written = header(record, name);
      if (written === undefined) {
        throw new TidemarkError(
          'BAD_TIMESTAMP',
          `the record has no header ${name}, expected a time`,
        );
      }
      return parseTimeField(written, unit ?? (/^-?\d+$/.test(written) ? 'us' : 'rfc3339'));
    };
  }
  const path = fieldPath(config.path);
  return (_record, message) => parseTimeField(lookupField(message, path), config.unit);
}

/** A null value has no fields: what would stand in one is the record's timestamp, or unknown. */
function eventReader({ event_timestamp: config, delete_timestamp }: MappingConfig): ReadTime {
  const read = timeReader(config);
  if (config === 'record') return read;
  return (record, message) => {
    if (message !== undefined) return read(record, message);
    if ('header' in config) {
      const isThere = header(record, config.header) !== undefined;
      if (isThere || delete_timestamp === undefined) return read(record, message);
    } else if (delete_timestamp === undefined) {
      throw new TidemarkError(
        'BAD_TIMESTAMP',
        `the value is null and has no ${config.path}, expected a value, ` +
          'or delete_timestamp in the source to say when a null value was deleted',
      );
    }
    return recordTime(record);
  };
}

function knownReader(config: MappingConfig['known_timestamp']): Times['known'] {
  if (config === 'arrival') return (_record, _message, _event, now) => now;
  if (config === 'event') return (_record, _message, event) => event;
  const read = timeReader(config);
  const isField = config !== 'record' && 'path' in config;
  return (record, message) =>
    isField && message === undefined ? recordTime(record) : read(record, message);
}
