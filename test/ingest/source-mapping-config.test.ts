import { expect, test } from 'vitest';

import { kafkaConnectionSchema, sourceConfigSchema } from '../../src/ingest/source-config.ts';

const SOURCE = {
  name: 'job-changes',
  feature_view: 'job',
  version: 'v1',
  topics: ['job-postings'],
  format: 'json_fields',
  event_timestamp: { path: 'ts_ms', unit: 'ms' },
  known_timestamp: 'record',
};

test('a source needs to say what it reads, into which version, and whose times it takes', () => {
  expect(sourceConfigSchema.parse(SOURCE)).toEqual({
    ...SOURCE,
    entity_id: 'entity_id',
    from: 'beginning',
    group_prefix: 'tidemark',
    max_value_bytes: 1_048_576,
    null_value: 'delete',
    on_data_loss: 'halt',
  });
});

test.each([
  [{ format: 'avro' }, 'format: expected a source with the format json, raw or json_fields'],
  [{ known_timestamp: undefined }, 'known_timestamp: expected record, arrival, event, or'],
  [{ event_timestamp: 'arrival' }, 'event_timestamp: expected record, or {path, unit}'],
  [{ event_timestamp: { path: 'a', unit: 'ns' } }, 'with the unit s, ms, us or rfc3339'],
  [{ format: 'raw', event_timestamp: { path: 'a', unit: 's' } }, 'one of "header"|"record"'],
  [{ topics: [] }, 'topics: Too small: expected array to have >=1 items'],
  [{ topics: ['a b'] }, 'topics.0: expected the name of a Kafka topic'],
  [{ version: 'v 1' }, 'version: expected the name of a model version'],
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
