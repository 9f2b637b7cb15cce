import { expect, test } from 'vitest';

import { compileMapping } from '../../../src/ingest/mapping.ts';
import { sourceConfigSchema } from '../../../src/ingest/source-config.ts';
import { type SourceRecord, UNSAID } from '../../../src/ingest/source-record.ts';
import { recordedBytes, recordedSchemas } from './recorded.ts';

const TARGET = { version: 'v1', dim: 2, dtype: 'float32' } as const;
/** When every record here arrives, and its own timestamp. */
const NOW = Date.UTC(2026, 2, 1, 12, 0, 1) * 1_000;
const WRITTEN = NOW - 1_000_000;
/** When the changes in it were made: the recorded ones have these milliseconds. */
const MADE_MS = Date.UTC(2026, 2, 1, 12) + 123;
const MADE = MADE_MS * 1_000;
const UNAVAILABLE = '__debezium_unavailable_value';

interface Given {
  key?: string | Uint8Array | null;
  value?: unknown;
  headers?: Record<string, string>;
}

/** A value that is no bytes and not null is written as JSON. */
function map(settings: object, { key = null, value = null, headers = {} }: Given) {
  const config = sourceConfigSchema.parse({
    name: 's',
    feature_view: 'job',
    version: 'v1',
    topics: ['t'],
    content: 'fields',
    known_timestamp: 'record',
    ...settings,
  });
  const record: SourceRecord = {
    topic: 't',
    partition: 0,
    offset: 7,
    key: typeof key === 'string' ? Buffer.from(key) : key,
    value:
      value === null || value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value)),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)]),
    ),
    timestamp: WRITTEN,
  };
  return compileMapping(config, TARGET, 300_000_000, recordedSchemas)(record, NOW);
}

const DEBEZIUM = { envelope: 'debezium', entity_id: 'id' };
const SOURCE = { ts_ms: MADE_MS, snapshot: 'false' };
const BEFORE = { id: 7, title: 'Analyst' };
const AFTER = { id: 7, title: 'Analyst II' };
const UPDATE = { op: 'u', source: SOURCE, ts_ms: MADE_MS + 500, before: BEFORE, after: AFTER };
const INSERT = { ...UPDATE, op: 'c', before: null };
const DELETE = { ...UPDATE, op: 'd', after: null };
const AT = { entityId: '7', event: MADE, known: WRITTEN, offset: 7 };

test('a change by Debezium is the row after it; what was before is known, and not asked (A4)', () => {
  expect(map(DEBEZIUM, { value: INSERT })).toEqual({ kind: 'text', ...AT, fields: AFTER });
  for (const before of [BEFORE, AFTER, 7]) {
    const value = { ...UPDATE, before };
    expect(map(DEBEZIUM, { value })).toEqual({ kind: 'text', ...AT, fields: AFTER });
  }
});

test('a read of a snapshot is a row like any other', () => {
  const value = { ...INSERT, op: 'r', source: { ...SOURCE, snapshot: 'last' } };
  expect(map(DEBEZIUM, { value })).toEqual({ kind: 'text', ...AT, fields: AFTER });
});

test('the schema that Kafka Connect puts beside a value is passed over', () => {
  const value = { schema: { type: 'struct' }, payload: UPDATE };
  expect(map(DEBEZIUM, { value })).toEqual(map(DEBEZIUM, { value: UPDATE }));
});

test('a delete and the record without a value that follows it are one delete (A7)', () => {
  expect(map(DEBEZIUM, { key: '{"id": 7}', value: DELETE })).toEqual({ kind: 'delete', ...AT });
  expect(map(DEBEZIUM, { key: '{"id": 7}' })).toEqual({ kind: 'skip' });
});

test('where compaction may have left a null alone, it can be told to be the delete', () => {
  const settings = { null_value: 'delete', delete_timestamp: 'record', key_field: 'id' };
  const deleted = { kind: 'delete', ...AT, event: WRITTEN };
  const key = { schema: { type: 'struct' }, payload: { id: 7 } };
  for (const given of [{ id: 7 }, key]) {
    expect(map({ ...DEBEZIUM, ...settings }, { key: JSON.stringify(given) })).toEqual(deleted);
  }
});

test('a delete whose row is not told is about its key', () => {
  const value = { ...DELETE, before: null };
  expect(map({ ...DEBEZIUM, key_field: 'id' }, { key: '{"id": 7}', value })).toMatchObject(AT);
  expect(map(DEBEZIUM, { key: '7', value })).toMatchObject(AT);
});

test.each([
  ['source.ts_ms', 'ms', MADE_MS, MADE],
  ['source.ts_us', 'us', MADE + 45, MADE + 45],
  ['source.ts_ns', 'ns', `${MADE + 45}499`, MADE + 45],
  ['source.ts_ns', 'ns', `${MADE + 45}500`, MADE + 46],
  ['source.ts_ns', 'ns', (MADE + 45) * 1_000, MADE + 45],
  ['source.ts_ns', 'ns', '-1500', -1],
])('the time of a change may be %s in %s: %j', (path, unit, time, event) => {
  const value = { ...INSERT, source: { [path.slice('source.'.length)]: time } };
  const settings = { ...DEBEZIUM, event_timestamp: { path, unit } };
  expect(map(settings, { value })).toMatchObject({ event });
});

test('the time of a change may be when Debezium saw it', () => {
  const settings = { ...DEBEZIUM, event_timestamp: { path: 'ts_ms', unit: 'ms' } };
  expect(map(settings, { value: INSERT })).toMatchObject({ event: MADE + 500_000 });
});

test.each([
  ['text', UNAVAILABLE],
  ['bytes', Buffer.from(UNAVAILABLE).toString('base64')],
  ['an array', [UNAVAILABLE]],
])('a value that did not change and was not sent is no text: %s', (_name, title) => {
  const value = { ...UPDATE, after: { ...AFTER, title } };
  const fields = { id: 7, title: UNSAID };
  expect(map(DEBEZIUM, { value })).toMatchObject({ kind: 'text', fields });
  const named = { ...DEBEZIUM, fields: { name: 'title' } };
  expect(map(named, { value })).toMatchObject({ fields: { name: UNSAID } });
});

test('a vector that was not sent is a dead letter, also where it would pass for one (A14)', () => {
  const vector = Buffer.from(UNAVAILABLE).toString('base64');
  const value = { ...UPDATE, after: { id: 7, vector } };
  expect(map({ ...DEBEZIUM, content: 'vector' }, { value })).toMatchObject({ code: 'BAD_VECTOR' });
});

test('a message in the log of a database is about no row', () => {
  const value = { op: 'm', source: SOURCE, message: { prefix: 'a', content: '' } };
  expect(map(DEBEZIUM, { value })).toEqual({ kind: 'skip' });
});

test.each([
  ['a table was emptied', { op: 't', source: SOURCE }, 'emptied'],
  ['there is no op', AFTER, 'no op'],
  ['the op is unknown', { ...UPDATE, op: 'x' }, 'unknown'],
  ['there is no row', { ...UPDATE, after: null }, 'no after'],
  ['the row is a number', { ...UPDATE, after: 5 }, 'no object'],
  ['the payload is null', { schema: null, payload: null }, 'payload'],
])('a record that says that %s is a dead letter', (_name, value, why) => {
  expect(map(DEBEZIUM, { value })).toMatchObject({
    code: 'BAD_RECORD',
    message: expect.stringContaining(why),
  });
});

test('MongoDB’s rows are JSON in a text', () => {
  const value = { ...INSERT, after: JSON.stringify(AFTER) };
  expect(map(DEBEZIUM, { value })).toMatchObject({ fields: AFTER });
});

test('a flat row says in a field of its own that it was deleted', () => {
  const flat = {
    envelope: 'debezium_flat',
    entity_id: 'id',
    event_timestamp: { path: '__source_ts_ms', unit: 'ms' },
  };
  const value = { ...AFTER, __deleted: 'false', __source_ts_ms: MADE_MS };
  expect(map(flat, { value })).toEqual({ kind: 'text', ...AT, fields: value });
  for (const mark of [true, 'true']) {
    expect(map(flat, { value: { ...value, __deleted: mark } })).toEqual({ kind: 'delete', ...AT });
  }
});

test('a change in Avro is what it is in JSON', () => {
  const avro = { ...DEBEZIUM, encoding: 'avro' };
  const [key, update] = [recordedBytes('key'), recordedBytes('update')];
  expect(map(avro, { key, value: update })).toEqual({
    kind: 'text',
    ...AT,
    fields: { id: 7, title: 'Analyst II', body: UNSAID },
  });
  expect(map(avro, { key, value: recordedBytes('delete') })).toEqual({ kind: 'delete', ...AT });
  const nanos = { ...avro, event_timestamp: { path: 'source.ts_ns', unit: 'ns' } };
  expect(map(nanos, { key, value: update })).toMatchObject({ event: MADE + 456 });
});

test('a key in Avro is the id that it holds (A7)', () => {
  const nulls = { encoding: 'avro', event_timestamp: 'record' };
  expect(map(nulls, { key: recordedBytes('text-key') })).toMatchObject({ entityId: 'seven' });
  const field = { ...nulls, key_field: 'id' };
  expect(map(field, { key: recordedBytes('key') })).toMatchObject({ entityId: '7' });
  expect(map(nulls, { key: recordedBytes('key') })).toMatchObject({ code: 'BAD_ENTITY_ID' });
});

const BROOKLIN = { envelope: 'brooklin', entity_id: 'id' };
const METADATA = { OpCode: 'UPDATE', EventTimestamp: String(MADE_MS) };

test.each([
  ['objects', (value: unknown) => value],
  ['JSON', (value: unknown) => JSON.stringify(value)],
])('a change by Brooklin has its rows as %s', (_name, written) => {
  const value = {
    key: '7',
    value: written(AFTER),
    previousValue: written(BEFORE),
    metadata: METADATA,
  };
  expect(map(BROOKLIN, { value })).toEqual({ kind: 'text', ...AT, fields: AFTER });
  const metadata = { ...METADATA, OpCode: 'DELETE' };
  expect(map(BROOKLIN, { value: { ...value, metadata } })).toEqual({ kind: 'delete', ...AT });
  const gone = { ...value, value: null, metadata: written(METADATA) };
  expect(map(BROOKLIN, { value: gone })).toEqual({ kind: 'delete', ...AT });
});

test.each([
  ['a text', '7'],
  ['a number', 7],
  ['an object', { id: 7 }],
  ['JSON of an object', '{"id": 7}'],
])('a change by Brooklin without a row is about its key: %s', (_name, key) => {
  const value = { key, value: null, previousValue: null, metadata: METADATA };
  expect(map(BROOKLIN, { key: 'other', value })).toEqual({ kind: 'delete', ...AT });
});

const EVENTS = { envelope: 'cloudevents' };
const CE = {
  ce_specversion: '1.0',
  ce_id: 'e1',
  ce_source: '/jobs',
  ce_type: 'job.changed',
  ce_time: '2026-03-01T12:00:00.123Z',
  'content-type': 'application/json; charset=utf-8',
};

test('a CloudEvent is about its subject, or else its key, at its time', () => {
  const fields = { title: 'Analyst' };
  const expected = { kind: 'text', ...AT, fields };
  const headers = { ...CE, ce_subject: '7' };
  expect(map(EVENTS, { key: 'other', value: fields, headers })).toEqual(expected);
  expect(map(EVENTS, { key: '7', value: fields, headers: CE })).toEqual(expected);
});

test('a CloudEvent without data is a delete at its time (A7)', () => {
  const headers = { ...CE, ce_subject: '7' };
  expect(map(EVENTS, { headers })).toEqual({ kind: 'delete', ...AT });
});

test.each([
  ['application/vnd.msgpack', recordedBytes('msgpack'), { fields: { title: 'größer 🌊' } }],
  ['application/avro', recordedBytes('everything'), { fields: { title: undefined } }],
  ['application/vnd.acme.job+json', { title: 'a' }, { fields: { title: 'a' } }],
  ['application/octet-stream', Uint8Array.of(1), { code: 'BAD_RECORD' }],
  ['application/cloudevents+json', { title: 'a' }, { code: 'BAD_RECORD' }],
  ['text/xml', { title: 'a' }, { code: 'BAD_RECORD' }],
])('the content-type %s says what a CloudEvent is encoded in', (type, value, expected) => {
  const settings = { ...EVENTS, fields: { title: 'title' } };
  const headers = { ...CE, 'content-type': type };
  expect(map(settings, { key: '7', value, headers })).toMatchObject(expected);
});

test('bytes in a CloudEvent are a vector where the source has vectors', () => {
  const headers = {
    ...CE,
    'content-type': 'application/octet-stream',
    'tidemark-dtype': 'float32',
    'tidemark-version': 'v1',
  };
  const value = new Uint8Array(new Float32Array([1, 2]).buffer);
  const mapped = map({ ...EVENTS, content: 'vector' }, { key: '7', value, headers });
  expect(mapped).toEqual({ kind: 'vector', ...AT, vector: { bytes: value } });
});

test('without a content-type the source says the encoding, and without attributes it is no event', () => {
  const { 'content-type': _type, ...headers } = CE;
  const value = { title: 'a' };
  expect(map(EVENTS, { key: '7', value, headers })).toMatchObject({ fields: value });
  expect(map(EVENTS, { key: '7', value })).toMatchObject({
    code: 'BAD_RECORD',
    message: expect.stringContaining('ce_specversion'),
  });
});

test('a vector in MessagePack may be numbers or bytes', () => {
  const settings = {
    content: 'vector',
    encoding: 'msgpack',
    entity_id: 'id',
    event_timestamp: 'record',
  };
  const value = recordedBytes('msgpack');
  expect(map(settings, { value })).toMatchObject({
    entityId: '9007199254740993',
    vector: { numbers: [0.5, -1.5] },
  });
  expect(map({ ...settings, vector: 'raw' }, { value })).toMatchObject({
    vector: { bytes: Buffer.from('0000803f00000040', 'hex') },
  });
});

test('topics of one source are mapped each by its own settings', () => {
  const topics = [{ topic: 't', entity_id: 'id', fields: { resume: 'text' } }, 'other'];
  const settings = { topics, event_timestamp: 'record' };
  expect(map(settings, { value: { id: 7, text: 'a' } })).toMatchObject({ fields: { resume: 'a' } });
});
