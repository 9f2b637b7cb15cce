import { z } from 'zod';

import { isAlias } from '../store/aliases.ts';
import { isVersionName, isViewName } from '../store/catalogue.ts';
import { completeMapping, type MappingConfig, mappingShape } from './formats/settings.ts';

/** Settings of Kafka sources, as they stand in `tidemark.yaml`. Every object refuses unknown keys. */

// Far above what an embedding takes: 8,192 numbers of JSON are some 170 kB.
const VALUE_BYTES_DEFAULT = 1_048_576;
const VALUE_BYTES_MAX = 64 * 1_048_576;

export const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
  error: 'expected 1 to 64 letters, digits, _ or -, a letter or digit first',
});

export const topic = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, {
  error: 'expected the name of a Kafka topic: 1 to 249 letters, digits, ., _ or -',
});

/** Of a model version itself: what an alias names may be another one tomorrow (A14). */
export const versionName = z.string().refine((given) => isVersionName(given) && !isAlias(given), {
  error: 'expected the name of a model version, which is no alias',
});

const binding = {
  name,
  /** The feature view that the records belong to, and the model version, never an alias (A14). */
  feature_view: z.string().refine(isViewName, { error: 'expected the name of a feature view' }),
  /** Absent: of fields, every version whose prompt takes them. */
  version: versionName.optional(),
  /** Where a partition starts that this source has never read. */
  from: z.enum(['beginning', 'end']).default('beginning'),
  /** First part of the consumer group's id; one group per source and model version (A12). */
  group_prefix: name.default('tidemark'),
  /** Records the broker has deleted before they were read: stop, or note it and go on. */
  on_data_loss: z.enum(['halt', 'continue']).default('halt'),
  /** A larger value is a dead letter, unparsed. */
  max_value_bytes: z.int().min(1).max(VALUE_BYTES_MAX).default(VALUE_BYTES_DEFAULT),
  /** Where dead letters are published too; true: for each topic one of its name and `.dlq`. */
  dead_letter_topic: z.union([z.literal(true), topic]).optional(),
};

/** A topic by its name, or with settings of its own over the source's. */
const topicEntry = z.preprocess(
  (given) => (typeof given === 'string' ? { topic: given } : given),
  z.strictObject({ topic, ...mappingShape }),
);

const sourceSchema = z.strictObject({
  ...binding,
  content: z.enum(['vector', 'fields'], { error: 'expected vector or fields' }),
  topics: z.array(topicEntry).min(1).max(64),
  ...mappingShape,
});

export const sourceConfigSchema = sourceSchema.transform((source, context) => {
  const { topics, content, ...given } = source;
  const { name: source_name, feature_view, version, from, ...rest } = given;
  const { group_prefix, on_data_loss, max_value_bytes, dead_letter_topic, ...shared } = rest;
  if (version === undefined && content === 'vector') {
    const message =
      'expected the model version that made the vectors, since the content is vector: ' +
      'only the fields of texts can feed every version of a view';
    context.addIssue({ code: 'custom', path: ['version'], message, input: version });
  }
  const mappings: Record<string, MappingConfig> = {};
  for (const [at, { topic: topicName, ...own }] of topics.entries()) {
    const mapping = completeMapping({ ...shared, ...own }, content);
    if ('setting' in mapping) {
      const { setting, message } = mapping;
      const path = own[setting] === undefined ? [setting] : ['topics', at, setting];
      context.addIssue({ code: 'custom', path, message, input: own[setting] ?? shared[setting] });
      return z.NEVER;
    }
    if (Object.hasOwn(mappings, topicName)) {
      const message = 'expected each topic once';
      context.addIssue({ code: 'custom', path: ['topics', at], message, input: topicName });
    }
    mappings[topicName] = mapping;
  }
  const ownTopic = Object.keys(mappings).find((each) => {
    return Object.hasOwn(mappings, deadLetterTopicOf(dead_letter_topic, each) ?? '');
  });
  if (ownTopic !== undefined) {
    const message =
      'expected a topic that the source does not read: dead letters would breed others';
    const path = ['dead_letter_topic'];
    context.addIssue({ code: 'custom', path, message, input: dead_letter_topic });
  }
  return {
    name: source_name,
    feature_view,
    version,
    from,
    group_prefix,
    on_data_loss,
    max_value_bytes,
    dead_letter_topic,
    content,
    topics: Object.keys(mappings),
    /** By topic. */
    mappings,
  };
});

export type SourceConfig = z.output<typeof sourceConfigSchema>;

/** The settings of what reads into one model version. */
export interface BoundSource extends SourceConfig {
  version: string;
}

/** Whether the settings name the version; where they do not, the source feeds each one. */
export function isBound(source: SourceConfig): source is BoundSource {
  return source.version !== undefined;
}

/** The topic that the dead letters of a topic go to, where the setting names one. */
export function deadLetterTopicOf(
  setting: SourceConfig['dead_letter_topic'],
  topicName: string,
): string | undefined {
  return setting === true ? `${topicName}.dlq` : setting;
}

const host = z.string().regex(/^(\[[0-9A-Fa-f:]+\]|[^\s:/]+):\d{1,5}$/, {
  error: 'expected host:port',
});

const file = z.string().min(1);
const url = z.url({ protocol: /^https?$/, error: 'expected a URL with http or https' });
const ONE_PASSWORD = { error: 'expected either password or password_file', path: ['password'] };

/** A secret stands in the settings, or alone in a file, which is read at each connection. */
const password = { password: z.string().min(1).optional(), password_file: file.optional() };

function hasOnePassword(given: { password?: unknown; password_file?: unknown }): boolean {
  return (given.password === undefined) !== (given.password_file === undefined);
}

const login = { username: z.string().min(1), ...password };

/** Files are in PEM. Whom to trust is never nobody: a broker without a right certificate is refused. */
const tls = z
  .strictObject({
    /** Authorities to trust instead of the well-known ones. */
    ca: file.optional(),
    /** Our own certificate and its key, where brokers ask for them. */
    cert: file.optional(),
    key: file.optional(),
    /** The name in the brokers' certificates, where it is not the one they are reached by. */
    server_name: z.string().min(1).optional(),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    error: 'expected cert and key together',
    path: ['key'],
  });

const sasl = z.discriminatedUnion(
  'mechanism',
  [
    z
      .strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        ...login,
      })
      .refine(hasOnePassword, ONE_PASSWORD),
    /** A token that something else keeps fresh, read at each connection. */
    z.strictObject({ mechanism: z.literal('oauthbearer'), token_file: file }),
  ],
  { error: 'expected the mechanism plain, scram-sha-256, scram-sha-512 or oauthbearer' },
);

/** How to reach a Kafka cluster, and the registry of its schemas. */
export const kafkaConnectionSchema = z.strictObject({
  brokers: z.array(host).min(1).max(64),
  ssl: z.union([z.boolean(), tls]).default(false),
  sasl: sasl.optional(),
  registry: z
    .strictObject({ url, ...password, username: z.string().min(1).optional() })
    .refine((given) => (given.username === undefined ? isOpen(given) : hasOnePassword(given)), {
      error: 'expected username, and either password or password_file, or none of them',
      path: ['password'],
    })
    .optional(),
});

function isOpen(given: { password?: unknown; password_file?: unknown }): boolean {
  return given.password === undefined && given.password_file === undefined;
}

export type KafkaConnection = z.infer<typeof kafkaConnectionSchema>;
