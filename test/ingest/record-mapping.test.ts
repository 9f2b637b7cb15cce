import fc from 'fast-check';
import { expect, test } from 'vitest';

import { compileMapping } from '../../src/ingest/mapping.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import type { SourceRecord } from '../../src/ingest/source-record.ts';

const TARGET = { version: 'v1', dim: 2, dtype: 'float32' } as const;
const SKEW_MAX = 300_000_000;
/** When every record here arrives, and its own timestamp: 2026-03-01T12:00:01Z and :00Z. */
const NOW = Date.UTC(2026, 2, 1, 12, 0, 1) * 1_000;
const WRITTEN = NOW - 1_000_000;
const BINDING = { name: 's', feature_view: 'job', version: 'v1', topics: ['t'] };

const JSON_SOURCE = { ...BINDING, content: 'vector', known_timestamp: 'record' };
const RAW_SOURCE = { ...BINDING, content: 'vector', encoding: 'bytes', known_timestamp: 'record' };
/** The change log of job postings: an operation, a time in ms, an id, and the row after it. */
const CHANGE_LOG = {
  ...BINDING,
  content: 'fields',
  entity_id: 'id',
  event_timestamp: { path: 'ts_ms', unit: 'ms' },
  known_timestamp: 'event',
  fields: { title: 'after.title', company: 'after.company_name' },
  delete_when: { path: 'op', equals: 'd' },
};

interface Given {
  key?: string | Uint8Array | null;
  value?: unknown;
  headers?: Record<string, string | Uint8Array>;
  timestamp?: number;
}

function bytes(given: string | Uint8Array): Uint8Array {
  return typeof given === 'string' ? Buffer.from(given) : given;
}

/** A record; a value that is no bytes and not null is written as JSON. */
function record({ key = null, value = null, headers = {}, timestamp }: Given): SourceRecord {
  return {
    topic: 't',
    partition: 0,
    offset: 7,
    key: key === null ? null : bytes(key),
    value: value === null || value instanceof Uint8Array ? value : bytes(JSON.stringify(value)),
    headers: Object.fromEntries(Object.entries(headers).map(([name, h]) => [name, bytes(h)])),
    timestamp: timestamp ?? WRITTEN,
  };
}

function map(config: object, given: Given) {
  return compileMapping(sourceConfigSchema.parse(config), TARGET, SKEW_MAX)(record(given), NOW);
}

const AT = '2026-03-01T11:00:00Z';
const AT_MICROS = Date.UTC(2026, 2, 1, 11) * 1_000;
const VECTOR = { entity_id: 'a', event_timestamp: AT, vector: [1, 2] };
const RAW_HEADERS = {
  'tidemark-event-timestamp': AT,
  'tidemark-dtype': 'float32',
  'tidemark-version': 'v1',
};
const BYTES = new Uint8Array(new Float32Array([1, 2]).buffer);

test('a JSON record says whom, when and which numbers', () => {
  expect(map(JSON_SOURCE, { value: VECTOR })).toEqual({
    kind: 'vector',
    entityId: 'a',
    event: AT_MICROS,
    known: WRITTEN,
    offset: 7,
    vector: { numbers: [1, 2] },
  });
});

test('a vector may be base64 of its bytes', () => {
  const value = { ...VECTOR, vector: Buffer.from(BYTES).toString('base64') };
  expect(map(JSON_SOURCE, { value })).toMatchObject({ vector: { bytes: Buffer.from(BYTES) } });
});

test('a raw record says the same in its key, its headers and its bytes', () => {
  expect(map(RAW_SOURCE, { key: 'a', value: BYTES, headers: RAW_HEADERS })).toEqual({
    kind: 'vector',
    entityId: 'a',
    event: AT_MICROS,
    known: WRITTEN,
    offset: 7,
    vector: { bytes: BYTES },
  });
});

test('the header of a raw record holds RFC 3339 or whole microseconds', () => {
  const headers = { ...RAW_HEADERS, 'tidemark-event-timestamp': String(AT_MICROS + 1) };
  expect(map(RAW_SOURCE, { key: 'a', value: BYTES, headers })).toMatchObject({
    event: AT_MICROS + 1,
  });
});

test('one field mapping reads a change log', () => {
  const after = { title: 'Analyst', company_name: 'Tide', active: true };
  const value = { op: 'c', ts_ms: AT_MICROS / 1_000, id: '98b2', after };
  expect(map(CHANGE_LOG, { value })).toEqual({
    kind: 'text',
    entityId: '98b2',
    event: AT_MICROS,
    known: AT_MICROS,
    offset: 7,
    fields: { title: 'Analyst', company: 'Tide' },
  });
});

test('the same field mapping reads flat JSON', () => {
  const config = { ...CHANGE_LOG, fields: { title: 'title' }, delete_when: undefined };
  const value = { id: 12, ts_ms: String(AT_MICROS / 1_000), title: 'Analyst' };
  expect(map(config, { value })).toMatchObject({
    kind: 'text',
    entityId: '12',
    event: AT_MICROS,
    fields: { title: 'Analyst' },
  });
});

test('the fields are the whole value, or the object at a path', () => {
  const value = { op: 'u', ts_ms: 0, id: 'a', after: { title: 'Analyst' } };
  const { fields: _fields, ...whole } = CHANGE_LOG;
  expect(map(whole, { value })).toMatchObject({ fields: value });
  expect(map({ ...whole, fields: 'after' }, { value })).toMatchObject({
    fields: { title: 'Analyst' },
  });
  expect(map({ ...whole, fields: 'after' }, { value: { ...value, after: null } })).toMatchObject({
    code: 'BAD_INPUT',
  });
});

test('what a JSON object inherits is not a field of it', () => {
  const config = { ...JSON_SOURCE, entity_id: 'constructor.name' };
  expect(map(config, { value: VECTOR, key: 'k' })).toMatchObject({ entityId: 'k' });
});

test.each([
  ['record', WRITTEN],
  ['arrival', NOW],
  ['event', AT_MICROS],
  [{ path: 'seen', unit: 's' }, AT_MICROS + 1_500_000],
])('a source declares that a record was known at %j (A5)', (known_timestamp, expected) => {
  const value = { ...VECTOR, seen: AT_MICROS / 1e6 + 1.5 };
  expect(map({ ...JSON_SOURCE, known_timestamp }, { value })).toMatchObject({ known: expected });
});

test('the event time may be the timestamp of the record', () => {
  const config = { ...JSON_SOURCE, event_timestamp: 'record' };
  expect(map(config, { value: VECTOR })).toMatchObject({ event: WRITTEN });
  expect(map(config, { value: VECTOR, timestamp: -1_000 })).toMatchObject({
    code: 'BAD_TIMESTAMP',
  });
});

test.each([
  ['s', 1_700_000_000.5, 1_700_000_000_500_000],
  ['s', '1700000000.000001', 1_700_000_000_000_001],
  ['s', -0.5, -500_000],
  ['ms', 1_691_000_080_000, 1_691_000_080_000_000],
  ['ms', 1_691_000_080_000.123, 1_691_000_080_000_123],
  ['us', 0, 0],
  ['us', '-1.000', -1],
  ['rfc3339', '2026-03-01T12:00:00+01:00', AT_MICROS],
])('an event time in %s of %j is %i µs', (unit, time, expected) => {
  const config = { ...JSON_SOURCE, event_timestamp: { path: 'at', unit } };
  expect(map(config, { value: { ...VECTOR, at: time } })).toMatchObject({ event: expected });
});

test.each([
  ['s', 1_700_000_000.1234567, 'finer'],
  ['ms', '1.0001', 'finer'],
  ['us', 0.5, 'finer'],
  ['us', 2 ** 53, 'within'],
  ['s', 1e300, 'seconds|number of s'],
  ['ms', 'yesterday', 'number of ms'],
  ['ms', '2026-03-01T12:00:00Z', 'number of ms'],
  ['ms', null, 'number of ms'],
  ['ms', true, 'number of ms'],
  ['ms', undefined, 'no time'],
  ['rfc3339', 1_700_000_000, 'RFC 3339'],
  ['rfc3339', '2026-03-01T12:00:00', 'offset'],
])('an event time in %s of %j is a dead letter', (unit, time, why) => {
  const config = { ...JSON_SOURCE, event_timestamp: { path: 'at', unit } };
  expect(map(config, { value: { ...VECTOR, at: time } })).toEqual({
    kind: 'rejected',
    code: 'BAD_TIMESTAMP',
    message: expect.stringMatching(why),
  });
});

test('every whole microsecond is read back from every unit that can hold it', () => {
  const places = { s: 6, ms: 3, us: 0 } as const;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: NOW }), fc.constantFrom('s', 'ms', 'us'), (at, unit) => {
      const digits = String(at).padStart(7, '0');
      const cut = digits.length - places[unit];
      const text = unit === 'us' ? digits : `${digits.slice(0, cut)}.${digits.slice(cut)}`;
      const config = { ...JSON_SOURCE, event_timestamp: { path: 'at', unit } };
      const result = map(config, { value: { ...VECTOR, at: text } });
      expect(result).toMatchObject({ event: at });
    }),
  );
});

test('an event time beyond the known time and the allowed skew is a dead letter (A13)', () => {
  const config = { ...JSON_SOURCE, event_timestamp: { path: 'at', unit: 'us' } };
  const value = { ...VECTOR, at: WRITTEN + SKEW_MAX };
  expect(map(config, { value })).toMatchObject({ kind: 'vector' });
  value.at++;
  expect(map(config, { value })).toMatchObject({
    code: 'FUTURE_TIMESTAMP',
    message: expect.stringContaining('max_future_skew'),
  });
});

test('a known time beyond now and the allowed skew is a dead letter (A13)', () => {
  const value = { ...VECTOR, event_timestamp: AT };
  expect(map(JSON_SOURCE, { value, timestamp: NOW + SKEW_MAX })).toMatchObject({ kind: 'vector' });
  expect(map(JSON_SOURCE, { value, timestamp: NOW + SKEW_MAX + 1 })).toMatchObject({
    code: 'FUTURE_TIMESTAMP',
  });
});

test('the key is the entity id where the value has none', () => {
  const { entity_id: _id, ...value } = VECTOR;
  expect(map(JSON_SOURCE, { key: 'k', value })).toMatchObject({ entityId: 'k' });
});

test('a JSON integer is the id that its decimal digits are', () => {
  const value = { ...VECTOR, entity_id: 9_007_199_254_740_991 };
  expect(map(JSON_SOURCE, { value })).toMatchObject({ entityId: '9007199254740991' });
});

test.each([
  ['no key and no field', { value: { ...VECTOR, entity_id: undefined } }],
  ['null', { value: { ...VECTOR, entity_id: null }, key: 'k' }],
  ['a fraction', { value: { ...VECTOR, entity_id: 1.5 } }],
  ['a number beyond 2^53', { value: { ...VECTOR, entity_id: 2 ** 53 } }],
  ['the empty text', { value: { ...VECTOR, entity_id: '' } }],
  ['a NUL', { value: { ...VECTOR, entity_id: 'a\0' } }],
  ['1,025 bytes', { value: { ...VECTOR, entity_id: 'a'.repeat(1_025) } }],
  ['half a surrogate pair', { value: { ...VECTOR, entity_id: '\ud800' } }],
  ['a key that is not UTF-8', { value: null, key: Uint8Array.of(0xc3) }],
  ['an empty key', { value: null, key: '' }],
])('an entity id of %s is a dead letter', (_name, given) => {
  const config = { ...JSON_SOURCE, event_timestamp: 'record' };
  expect(map(config, given)).toMatchObject({ kind: 'rejected', code: 'BAD_ENTITY_ID' });
});

test.each([
  ['an object', { x: 1 }],
  ['a number', 3],
  ['text among the numbers', [1, '2']],
  ['null among the numbers', [1, null]],
  ['arrays', [[1, 2]]],
  ['text that is not base64', 'AAAA!'],
  ['base64 without padding', 'AAAAAAA'],
])('a vector of %s is a dead letter (A14)', (_name, vector) => {
  expect(map(JSON_SOURCE, { value: { ...VECTOR, vector } })).toMatchObject({ code: 'BAD_VECTOR' });
});

test.each([
  ['is not JSON', Buffer.from('{"entity_id": '), 'not JSON'],
  ['is empty', new Uint8Array(0), 'not JSON'],
  ['is not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 'UTF-8'],
  ['is an array', Buffer.from('[1]'), 'no object'],
  ['is the JSON null', Buffer.from('null'), 'no object'],
  ['comes from a schema registry', Uint8Array.of(0, 0, 0, 0, 1), 'schema registry'],
  ['has no vector', Buffer.from(JSON.stringify({ ...VECTOR, vector: null })), 'no vector'],
  [
    'has a vector and is a delete',
    Buffer.from(JSON.stringify({ ...VECTOR, deleted: true })),
    'exactly one',
  ],
])('a value that %s is a dead letter', (_name, value, why) => {
  expect(map(JSON_SOURCE, { value })).toEqual({
    kind: 'rejected',
    code: 'BAD_RECORD',
    message: expect.stringContaining(why),
  });
});

test('a value above the limit is a dead letter that nobody parsed', () => {
  const value = Buffer.alloc(33, '[');
  expect(map({ ...JSON_SOURCE, max_value_bytes: 32 }, { value })).toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('33 bytes, expected at most 32'),
  });
});

test.each([
  ['no event time', { 'tidemark-event-timestamp': undefined }, 'BAD_TIMESTAMP'],
  ['no dtype', { 'tidemark-dtype': undefined }, 'BAD_VECTOR'],
  ['another dtype', { 'tidemark-dtype': 'float16' }, 'BAD_VECTOR'],
  ['another dim', { 'tidemark-dim': '3' }, 'BAD_VECTOR'],
  ['no version', { 'tidemark-version': undefined }, 'BAD_RECORD'],
  ['another version', { 'tidemark-version': 'v2' }, 'BAD_RECORD'],
])('a raw vector with %s in its headers is a dead letter (A14)', (_name, change, code) => {
  const headers = JSON.parse(JSON.stringify({ ...RAW_HEADERS, ...change })) as typeof RAW_HEADERS;
  expect(map(RAW_SOURCE, { key: 'a', value: BYTES, headers })).toMatchObject({ code });
});

const INT8 = { version: 'v1', dim: 2, dtype: 'int8' } as const;

function mapInt8(config: object, given: Given) {
  return compileMapping(sourceConfigSchema.parse(config), INT8, SKEW_MAX)(record(given), NOW);
}

test('the scale of int8 stands in a field beside its numbers, or behind its bytes', () => {
  const value = { ...VECTOR, scale: 0.5, by: { scale: 2 } };
  expect(mapInt8(JSON_SOURCE, { value })).toMatchObject({
    vector: { numbers: [1, 2], scale: 0.5 },
  });
  expect(mapInt8({ ...JSON_SOURCE, scale: 'by.scale' }, { value })).toMatchObject({
    vector: { numbers: [1, 2], scale: 2 },
  });
  const headers = { ...RAW_HEADERS, 'tidemark-dtype': 'int8' };
  const raw = (hex: string) =>
    mapInt8(RAW_SOURCE, { key: 'a', value: Buffer.from(hex, 'hex'), headers });
  expect(raw('01ff0000003f')).toMatchObject({
    vector: { bytes: Buffer.from('01ff', 'hex'), scale: 0.5 },
  });
  expect(raw('01ff')).toMatchObject({
    code: 'BAD_VECTOR',
    message: expect.stringContaining('got 2 bytes for a vector, expected 6: 2 int8, and behind'),
  });
});

test('a scale that is no number is a dead letter; of floats a field called scale is none of ours', () => {
  const value = { ...VECTOR, scale: '0.5' };
  expect(mapInt8(JSON_SOURCE, { value })).toMatchObject({
    code: 'BAD_VECTOR',
    message: 'got string for scale, expected a number',
  });
  expect(map(JSON_SOURCE, { value })).toMatchObject({ vector: { numbers: [1, 2] } });
  expect(map({ ...JSON_SOURCE, scale: 'scale' }, { value })).toMatchObject({ code: 'BAD_VECTOR' });
});

test('a JSON record that names another version is a dead letter (A14)', () => {
  const headers = { 'tidemark-version': 'v2' };
  expect(map(JSON_SOURCE, { value: VECTOR, headers })).toMatchObject({ code: 'BAD_RECORD' });
});

test('a null value deletes at the time of the record where that is the event time (A7)', () => {
  const config = { ...JSON_SOURCE, event_timestamp: 'record' };
  expect(map(config, { key: 'a' })).toEqual({
    kind: 'delete',
    entityId: 'a',
    event: WRITTEN,
    known: WRITTEN,
    offset: 7,
  });
});

test('a null value has no event time to read unless the source says which (A7)', () => {
  expect(map(CHANGE_LOG, { key: 'a' })).toMatchObject({
    code: 'BAD_TIMESTAMP',
    message: expect.stringContaining('delete_timestamp'),
  });
  const config = { ...CHANGE_LOG, delete_timestamp: 'record' };
  expect(map(config, { key: 'a' })).toMatchObject({ kind: 'delete', event: WRITTEN });
});

test('a null value after a delete can be passed over', () => {
  expect(map({ ...CHANGE_LOG, null_value: 'skip' }, { key: 'a' })).toEqual({ kind: 'skip' });
});

test('a raw delete is at the time of its header, or of the record if the source says so (A7)', () => {
  const headers = { 'tidemark-event-timestamp': AT };
  expect(map(RAW_SOURCE, { key: 'a', headers })).toMatchObject({
    kind: 'delete',
    event: AT_MICROS,
  });
  expect(map(RAW_SOURCE, { key: 'a' })).toMatchObject({ code: 'BAD_TIMESTAMP' });
  expect(map({ ...RAW_SOURCE, delete_timestamp: 'record' }, { key: 'a' })).toMatchObject({
    kind: 'delete',
    event: WRITTEN,
  });
});

test('a delete that the value marks is at the event time of the value (A7)', () => {
  const value = { op: 'd', ts_ms: AT_MICROS / 1_000, id: 'a', after: null };
  expect(map(CHANGE_LOG, { value })).toEqual({
    kind: 'delete',
    entityId: 'a',
    event: AT_MICROS,
    known: AT_MICROS,
    offset: 7,
  });
  const { vector: _vector, ...vectorless } = VECTOR;
  expect(map(JSON_SOURCE, { value: { ...vectorless, deleted: true } })).toMatchObject({
    kind: 'delete',
    event: AT_MICROS,
  });
});

test('whatever the bytes are, a record is a revision, a dead letter or nothing, and never a crash', () => {
  const anyBytes = fc.option(fc.uint8Array({ maxLength: 40 }));
  const json = fc.json().map((text) => new Uint8Array(Buffer.from(text)));
  fc.assert(
    fc.property(anyBytes, fc.oneof(anyBytes, json), fc.integer(), (key, value, timestamp) => {
      for (const config of [JSON_SOURCE, RAW_SOURCE, CHANGE_LOG]) {
        const { kind } = map(config, { key, value, timestamp });
        expect(['vector', 'text', 'delete', 'rejected', 'skip']).toContain(kind);
      }
    }),
  );
});

test('a record of any depth is a dead letter and not an end of the partition', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  for (const value of [
    `{"id": ${deep}, "ts_ms": 1, "after": {}}`,
    `{"id": "a", "ts_ms": ${deep}, "after": {}}`,
  ]) {
    expect(map(CHANGE_LOG, { value: bytes(value) })).toMatchObject({ kind: 'rejected' });
  }
});
