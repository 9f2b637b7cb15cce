import { expect, test } from 'vitest';

import {
  isBound,
  kafkaConnectionSchema,
  sourceConfigSchema,
} from '../../src/ingest/source-config.ts';

const SOURCE = {
  name: 'job-changes',
  feature_view: 'job',
  version: 'v1',
  topics: ['job-postings'],
  content: 'fields',
  event_timestamp: { path: 'ts_ms', unit: 'ms' },
  known_timestamp: 'record',
};

const MAPPING = {
  content: 'fields',
  encoding: 'json',
  envelope: 'none',
  entity_id: 'entity_id',
  event_timestamp: { path: 'ts_ms', unit: 'ms' },
  known_timestamp: 'record',
  null_value: 'delete',
  vector: 'vector',
};

test('a source needs to say what it reads, into which version, and whose times it takes', () => {
  expect(sourceConfigSchema.parse(SOURCE)).toEqual({
    name: 'job-changes',
    feature_view: 'job',
    version: 'v1',
    content: 'fields',
    from: 'beginning',
    group_prefix: 'tidemark',
    max_value_bytes: 1_048_576,
    on_data_loss: 'halt',
    topics: ['job-postings'],
    mappings: { 'job-postings': MAPPING },
  });
});

test('a source of fields need not name a version: it feeds each one', () => {
  const { version, ...source } = SOURCE;
  expect(sourceConfigSchema.parse(source).version).toBeUndefined();
  expect(isBound(sourceConfigSchema.parse(source))).toBe(false);
  expect(isBound(sourceConfigSchema.parse({ ...source, version }))).toBe(true);
});

test('a topic may have settings of its own over those of its source', () => {
  const own = { topic: 'edits', encoding: 'msgpack', entity_id: 'id', fields: { title: 't' } };
  const { topics, mappings } = sourceConfigSchema.parse({ ...SOURCE, topics: ['postings', own] });
  expect(topics).toEqual(['postings', 'edits']);
  expect(mappings['postings']).toEqual(MAPPING);
  expect(mappings['edits']).toEqual({
    ...MAPPING,
    encoding: 'msgpack',
    entity_id: 'id',
    fields: { title: 't' },
  });
});

test.each([
  ['debezium', { path: 'source.ts_ms', unit: 'ms' }, 'skip'],
  ['brooklin', { path: 'metadata.EventTimestamp', unit: 'ms' }, 'delete'],
  ['cloudevents', { header: 'ce_time', unit: 'rfc3339' }, 'delete'],
])('the envelope %s knows when things became true, and what no value means', (envelope, at, is) => {
  const { event_timestamp: _at, ...rest } = SOURCE;
  const { mappings } = sourceConfigSchema.parse({ ...rest, envelope });
  expect(mappings['job-postings']).toMatchObject({ event_timestamp: at, null_value: is });
});

test.each([
  [{ encoding: 'xml' }, 'encoding: Invalid option: expected one of "json"|"msgpack"|"avro"'],
  [{ envelope: 'soap' }, 'envelope: Invalid option: expected one of "none"|"debezium"'],
  [{ content: 'json' }, 'content: expected vector or fields'],
  [{ content: 'vector', fields: 'a' }, 'fields: expected none, since the content is vector'],
  [{ vector: 'v' }, 'vector: expected none, since the content is fields'],
  [{ scale: 's' }, 'scale: expected none, since the content is fields'],
  [{ encoding: 'bytes' }, 'encoding: expected another one: bytes are a vector alone'],
  [{ content: 'vector', encoding: 'bytes', envelope: 'debezium' }, 'encoding: expected another'],
  [{ known_timestamp: undefined }, 'known_timestamp: expected arrival, event, record, {path'],
  [{ event_timestamp: undefined }, 'event_timestamp: expected record, {path, unit}'],
  [{ event_timestamp: 'arrival' }, 'event_timestamp: expected record, {path, unit}'],
  [{ event_timestamp: { path: 'a', unit: 'min' } }, 'with the unit s, ms, us, ns or rfc3339'],
  [{ topics: [] }, 'topics: Too small: expected array to have >=1 items'],
  [{ topics: ['a b'] }, 'topics.0.topic: expected the name of a Kafka topic'],
  [{ topics: ['a', { topic: 'a' }] }, 'topics.1: expected each topic once'],
  [{ topics: [{ topic: 'a', vector: 'v' }] }, 'topics.0.vector: expected none'],
  [{ topics: [{ topic: 'a', from: 'end' }] }, 'topics.0: Unrecognized key: "from"'],
  [{ version: 'v 1' }, 'version: expected the name of a model version'],
  [{ version: 'current' }, 'version: expected the name of a model version, which is no alias'],
  [{ version: 'candidate' }, 'version: expected the name of a model version, which is no alias'],
  [
    { version: undefined, content: 'vector' },
    'version: expected the model version that made the vectors, since the content is vector',
  ],
  [{ feature_view: 'job@v1' }, 'feature_view: expected the name of a feature view'],
  [{ entity_id: 'after..id' }, 'entity_id: expected the name of a field'],
  [{ max_value_bytes: 0 }, 'max_value_bytes: Too small: expected number to be >=1'],
  [{ delete_timestamp: 'arrival' }, 'delete_timestamp: Invalid input: expected "record"'],
  [{ alias: 'current' }, 'Unrecognized key: "alias"'],
])(
  'a source with %j is refused, and the message names the key and what was expected',
  (wrong, why) => {
    const { error } = sourceConfigSchema.safeParse({ ...SOURCE, ...wrong });
    const issues = error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    expect(issues?.join()).toContain(why);
  },
);

test('a broker is a host and a port', () => {
  expect(kafkaConnectionSchema.parse({ brokers: ['kafka-1:9092', '[::1]:9092'] })).toEqual({
    brokers: ['kafka-1:9092', '[::1]:9092'],
    ssl: false,
  });
  expect(() => kafkaConnectionSchema.parse({ brokers: ['kafka://a'] })).toThrow('host:port');
});

const PLAIN = { mechanism: 'plain', username: 'me' };

test.each([
  [{ sasl: PLAIN }, 'either password or password_file'],
  [{ sasl: { ...PLAIN, password: 'a', password_file: '/b' } }, 'either password or password_file'],
  [{ sasl: { ...PLAIN, mechanism: 'gssapi', password: 'a' } }, 'expected the mechanism plain'],
  [{ sasl: { mechanism: 'oauthbearer' } }, 'token_file'],
  [{ ssl: { key: '/k' } }, 'cert and key together'],
  [{ ssl: { rejectUnauthorized: false } }, 'Unrecognized key'],
  [{ registry: { url: 'http://r', username: 'me' } }, 'either password or password_file'],
  [{ registry: { url: 'http://r', password: 'a' } }, 'expected username'],
])('a connection with %j is refused', (wrong, why) => {
  const { error } = kafkaConnectionSchema.safeParse({ brokers: ['a:1'], ...wrong });
  expect(error?.message).toContain(why);
});
