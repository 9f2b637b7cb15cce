import { z } from 'zod';

import { isVersionName, isViewName } from '../store/catalogue.ts';

/** Settings of Kafka sources, as they stand in `tidemark.yaml`. Every object refuses unknown keys. */

// Far above what an embedding takes: 8,192 numbers of JSON are some 170 kB.
const VALUE_BYTES_DEFAULT = 1_048_576;
const VALUE_BYTES_MAX = 64 * 1_048_576;

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
  error: 'expected 1 to 64 letters, digits, _ or -, a letter or digit first',
});

const topic = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, {
  error: 'expected the name of a Kafka topic: 1 to 249 letters, digits, ., _ or -',
});

/** Names of nested fields with dots between them, such as `after.title`. */
const path = z
  .string()
  .max(512)
  .regex(/^[^.]+(\.[^.]+)*$/, {
    error: 'expected the name of a field, such as title or after.title',
  });

const timeField = z.strictObject({
  path,
  /** `rfc3339` takes a string with an offset; the others a number, or a string of digits. */
  unit: z.enum(['s', 'ms', 'us', 'rfc3339']),
});

/** What marks a record whose value is not null as a delete. */
const deleteWhen = z.strictObject({
  path,
  equals: z.union([z.string(), z.number(), z.boolean(), z.null()]),
});

const common = {
  name,
  /** The feature view that the records belong to, and the model version, never an alias (A14). */
  feature_view: z.string().refine(isViewName, { error: 'expected the name of a feature view' }),
  version: z.string().refine(isVersionName, { error: 'expected the name of a model version' }),
  topics: z.array(topic).min(1).max(64),
  /** Where a partition starts that this source has never read. */
  from: z.enum(['beginning', 'end']).default('beginning'),
  /** First part of the consumer group's id; one group per source and model version (A12). */
  group_prefix: name.default('tidemark'),
  /** Records the broker has deleted before they were read: stop, or note it and go on. */
  on_data_loss: z.enum(['halt', 'continue']).default('halt'),
  /** A larger value is a dead letter, unparsed. */
  max_value_bytes: z.int().min(1).max(VALUE_BYTES_MAX).default(VALUE_BYTES_DEFAULT),
  /** What a null value means. `skip` suits streams that send a delete and then a null. */
  null_value: z.enum(['delete', 'skip']).default('delete'),
  /** When a null value's delete happened, where the event time stands in a value it does not have. */
  delete_timestamp: z.literal('record').optional(),
};

const timeFieldOr = '{path, unit} with the unit s, ms, us or rfc3339';

const json = {
  /** The field that holds the entity id; the record's key where the field is absent. */
  entity_id: path.default('entity_id'),
  known_timestamp: z.union([z.enum(['record', 'arrival', 'event']), timeField], {
    error: `expected record, arrival, event, or ${timeFieldOr}`,
  }),
};

const jsonEventTimestamp = z.union([z.literal('record'), timeField], {
  error: `expected record, or ${timeFieldOr}`,
});

/** Vectors as JSON: an array of numbers, or base64 of the bytes in the version's dtype. */
const jsonSource = z.strictObject({
  format: z.literal('json'),
  ...common,
  ...json,
  vector: path.default('vector'),
  event_timestamp: jsonEventTimestamp.default({ path: 'event_timestamp', unit: 'rfc3339' }),
  delete_when: deleteWhen.default({ path: 'deleted', equals: true }),
});

/** Vectors as the value's bytes, little-endian, in the version's dtype; the rest is in headers. */
const rawSource = z.strictObject({
  format: z.literal('raw'),
  ...common,
  event_timestamp: z.enum(['header', 'record']).default('header'),
  known_timestamp: z.enum(['record', 'arrival', 'event', 'header']),
});

/** Changes of an entity's text as JSON, which the version's model embeds. */
const jsonFieldsSource = z.strictObject({
  format: z.literal('json_fields'),
  ...common,
  ...json,
  event_timestamp: jsonEventTimestamp,
  delete_when: deleteWhen.optional(),
  /**
   * The fields that a prompt can use: the object at a path, or each by name and path. Without it,
   * those of the whole value.
   */
  fields: z
    .union([path, z.record(z.string(), path)], {
      error: 'expected a path, or a path for each name of a field',
    })
    .optional(),
});

export const sourceConfigSchema = z.discriminatedUnion(
  'format',
  [jsonSource, rawSource, jsonFieldsSource],
  { error: 'expected a source with the format json, raw or json_fields' },
);

export type SourceConfig = z.infer<typeof sourceConfigSchema>;
export type TimeField = z.infer<typeof timeField>;

const host = z.string().regex(/^(\[[0-9A-Fa-f:]+\]|[^\s:/]+):\d{1,5}$/, {
  error: 'expected host:port',
});

/** How to reach a Kafka cluster. */
export const kafkaConnectionSchema = z.strictObject({
  brokers: z.array(host).min(1).max(64),
  ssl: z.boolean().default(false),
  sasl: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: z.string().min(1),
      password: z.string().min(1),
    })
    .optional(),
});

export type KafkaConnection = z.infer<typeof kafkaConnectionSchema>;
