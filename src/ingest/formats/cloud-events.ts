import { badRecord, header, type SourceRecord } from '../source-record.ts';
import type { EncodingName } from './encodings.ts';
import type { Envelope } from './envelopes.ts';

/** By media type, without its parameters. Avro is in Confluent's wire format. */
const ENCODING_OF: Readonly<Record<string, EncodingName>> = {
  'application/json': 'json',
  'text/json': 'json',
  'application/msgpack': 'msgpack',
  'application/vnd.msgpack': 'msgpack',
  'application/x-msgpack': 'msgpack',
  'application/avro': 'avro',
  'application/vnd.apache.avro+binary': 'avro',
  'application/octet-stream': 'bytes',
};

/**
 * CloudEvents in binary mode: the value is the event's data, all else stands in headers. The event
 * is about its subject, or else about the entity that the record's key is.
 */
export const cloudEvents: Envelope = {
  eventTimestamp: { header: 'ce_time', unit: 'rfc3339' },
  open: (message, record) => ({ message, row: message, id: subjectOf(record) }),
  idOf: subjectOf,
  encodingOf(record) {
    if (header(record, 'ce_specversion') === undefined) {
      throw badRecord(
        'the record has no header ce_specversion',
        'a CloudEvent in binary mode, with its attributes in headers',
      );
    }
    const type = header(record, 'content-type')?.split(';', 1)[0]!.trim().toLowerCase();
    if (type === undefined) return undefined;
    const encoding = /^application\/[a-z0-9.-]+\+json$/.test(type) ? 'json' : ENCODING_OF[type];
    if (encoding !== undefined && type !== 'application/cloudevents+json') return encoding;
    throw badRecord(
      `the record has the content-type ${type}`,
      'JSON, MessagePack, Avro or bytes, as data of a CloudEvent in binary mode',
    );
  },
};

function subjectOf(record: SourceRecord): string | undefined {
  return header(record, 'ce_subject');
}
