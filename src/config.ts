import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

import { limitsSchema } from './api/limits.ts';
import { TidemarkError } from './ground/errors.ts';
import { namesSchemas } from './ingest/formats/encodings.ts';
import { remoteModelSchema } from './ingest/inference/remote-config.ts';
import { sinkConfigSchema } from './ingest/sink-config.ts';
import { kafkaConnectionSchema, sourceConfigSchema } from './ingest/source-config.ts';

const CONFIG_FILE = 'tidemark.yaml';
const ENV_PREFIX = 'TIDEMARK_';
/** Variables of that prefix that the command line reads, and a server does not. */
const NOT_SETTINGS = new Set(['TIDEMARK_URL']);

const inferenceSchema = z.strictObject({
  provider: z.enum(['cpu', 'cuda']).default('cpu').describe('What runs the models.'),
  workers: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('Threads that run a model, each with its own copy of it in memory.'),
  threads: z.int().min(1).max(256).default(1).describe('CPU threads of one run of a model.'),
  batch_texts: z.int().min(1).max(4_096).default(16).describe('Texts in one run of a model.'),
  batch_tokens: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(2_048)
    .describe('Tokens in one run of a model: texts times the longest of them.'),
  queue_tokens: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(262_144)
    .describe('Tokens that may wait for a model: of requests, beyond, 429; of sources, they wait.'),
  golden_cosine: z
    .number()
    .min(0)
    .max(1)
    .default(0.999)
    .describe('Least cosine of golden texts, now and then, below which a model has drifted.'),
  text_chars: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(65_536)
    .describe('Longest model input, in UTF-16 units: models read far less.'),
});

const maintenanceSchema = z.strictObject({
  interval_seconds: z
    .int()
    .min(0)
    .max(7 * 86_400)
    .default(3_600)
    .describe('Between rounds that move horizons on and compact what is due; 0: none.'),
  dead_share: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe('A model version is compacted past this share of dead bytes.'),
  erased_within_seconds: z
    .int()
    .min(0)
    .max(30 * 86_400)
    .default(86_400)
    .describe('How long erased bytes may stay in the files before they are compacted away.'),
});

const share = z.number().min(0).max(1);

const canarySchema = z.strictObject({
  feature_view: z.string().min(1),
  texts: z.tuple([z.string().min(1), z.string().min(1)]),
  cosine_min: z.number().min(-1).max(1).default(-1),
  cosine_max: z.number().min(-1).max(1).default(1),
});

const promotionSchema = z.strictObject({
  coverage_min: share
    .default(0.99)
    .describe(
      'Of the entities that the current version answers, the share that it must have, too.',
    ),
  dim_may_change: z
    .boolean()
    .default(false)
    .describe('Whether its dim and dtype may be other ones than the current version’s.'),
  neighbour_overlap_min: share
    .default(0.1)
    .describe('Of the 10 nearest neighbours of an entity, the share that both versions agree on.'),
  duplicates_more_max: share
    .default(0.05)
    .describe('How much greater the share of entities with another one’s vector may be.'),
  norm_spread_max: z
    .number()
    .min(0)
    .default(0.5)
    .describe('The standard deviation of the vectors’ lengths, as a share of their mean.'),
  canaries: z
    .array(canarySchema)
    .max(100)
    .default([])
    .describe(
      'Pairs of texts that the model must put near to each other (`cosine_min`) or not (`cosine_max`), each of a `feature_view`.',
    ),
  command: z
    .array(z.string())
    .default([])
    .describe(
      'A program and its arguments that must end with 0; TIDEMARK_FEATURE_VIEW, TIDEMARK_CURRENT and TIDEMARK_CANDIDATE say what it is about.',
    ),
  command_seconds: z.int().min(1).max(3_600).default(60).describe('How long it may take.'),
  centroid_shift_max: z
    .number()
    .min(0)
    .max(2)
    .default(0.1)
    .describe(
      'How far the mean direction of a version’s newest vectors may be from what it was, as a cosine distance, before its health says so; no gate.',
    ),
});

const backupSchema = z.strictObject({
  directories: z
    .array(z.string().min(1))
    .default([])
    .describe('Where backups may be written that are asked of the server; nowhere by default.'),
});

const backfillSchema = z.strictObject({
  directories: z
    .array(z.string().min(1))
    .default([])
    .describe('Where files of backfills may lie on the server’s disk; nowhere by default.'),
});

const GIB = 2 ** 30;

const exportsSchema = z.strictObject({
  threads: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('Threads that all training joins share; as many as cores, at most 4, if not set.'),
  memory_bytes: z
    .int()
    .min(64 * 2 ** 20)
    .default(GIB)
    .describe('What all training joins together may have in memory, however long they are.'),
  concurrent: z
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe('Exports that run at once: more of them do not get done sooner.'),
  queued: z
    .int()
    .min(0)
    .max(100_000)
    .default(64)
    .describe('Exports that may wait beside them, each with its spine on the disk: beyond, 429.'),
  keep_seconds: z
    .int()
    .min(1)
    .max(366 * 86_400)
    .default(7 * 86_400)
    .describe('How long the files of an export are kept after its end.'),
  spine_bytes: z
    .int()
    .min(1)
    .default(64 * GIB)
    .describe('Bytes of a spine that is sent for an export, or that is sent in Parquet.'),
  spine_directories: z
    .array(z.string().min(1))
    .default([])
    .describe('Where spines of exports may lie on the server’s disk; nowhere by default.'),
  part_rows: z
    .int()
    .min(1)
    .max(2 ** 27)
    .optional()
    .describe('Rows of one part of an export at most; as many as memory lets if not set.'),
});

const WORKERS = 'expected a whole number from 0 to 64';
const PORT = 'expected a whole number from 0 to 65535';

const servingSchema = z.strictObject({
  workers: z
    .int(WORKERS)
    .min(0, WORKERS)
    .max(64, WORKERS)
    .default(0)
    .describe(
      'Processes that answer lookups on the one port, beside one that writes; 0: one process for all. Each has its share of resident_bytes.',
    ),
  resident_bytes: z
    .int()
    .min(0)
    .default(GIB / 2)
    .describe(
      'Memory for what lookups have read, so that they find it again without the file: vectors, and the newest revisions of entities; 0: none.',
    ),
});

const skewSchema = z.strictObject({
  sample: z
    .number()
    .min(0)
    .max(1)
    .default(0.001)
    .describe('Share of lookups that one row is asked again of, as a training join asks; 0: none.'),
  queue: z
    .int()
    .min(1)
    .max(65_536)
    .default(256)
    .describe('Rows that may wait for that: beyond, they are dropped and counted.'),
});

const shadowSchema = z.strictObject({
  sample: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe(
      'Share of lookups of the latest without a version that the view’s candidate is asked too; 0: none.',
    ),
  queue: z
    .int()
    .min(1)
    .max(4_096)
    .default(64)
    .describe('Lookups that may wait for that: beyond, they are dropped and counted.'),
});

export const configSchema = z
  .strictObject({
    data: z
      .string()
      .min(1)
      .default('data')
      .describe('The data directory, made where there is none.'),
    host: z.string().min(1).default('127.0.0.1').describe('The address to listen on.'),
    port: z
      .int(PORT)
      .min(0, PORT)
      .max(65_535, PORT)
      .default(8_080)
      .describe('The port; 0 takes a free one.'),
    follow: z
      .url({ protocol: /^https?$/ })
      .transform((url) => url.replace(/\/+$/, ''))
      .optional()
      .describe('The address of a Tidemark to follow: makes this one a read replica of it.'),
    follow_max_lag_seconds: z
      .number()
      .min(0)
      .max(30 * 86_400)
      .default(300)
      .describe('A read replica whose data is older than this is not ready; 0: of any age.'),
    models: z.string().min(1).optional().describe('Folder of models; `models` in data if not set.'),
    log_level: z
      .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
      .default('info')
      .describe('The least level that is logged.'),
    max_future_skew_seconds: z
      .number()
      .min(0)
      .max(86_400)
      .default(300)
      .describe('How far ahead of the clock a record may be (A13): one bad clock pins the latest.'),
    limits: limitsSchema.default(() => limitsSchema.parse({})),
    maintenance: maintenanceSchema.default(() => maintenanceSchema.parse({})),
    backup: backupSchema.default(() => backupSchema.parse({})),
    backfill: backfillSchema.default(() => backfillSchema.parse({})),
    exports: exportsSchema.default(() => exportsSchema.parse({})),
    serving: servingSchema.default(() => servingSchema.parse({})),
    promotion: promotionSchema.default(() => promotionSchema.parse({})),
    skew_check: skewSchema.default(() => skewSchema.parse({})),
    shadow: shadowSchema.default(() => shadowSchema.parse({})),
    inference: inferenceSchema.default(() => inferenceSchema.parse({})),
    remote_models: z
      .array(remoteModelSchema)
      .default([])
      .describe('Models that other servers run, which speak OpenAI’s embeddings.'),
    kafka: kafkaConnectionSchema.optional().describe('Where the sources read and the sinks write.'),
    sources: z.array(sourceConfigSchema).default([]).describe('Topics that feed model versions.'),
    sinks: z
      .array(sinkConfigSchema)
      .default([])
      .describe('Topics that the committed revisions of model versions go to.'),
  })
  .refine(({ kafka, sources }) => sources.length === 0 || kafka !== undefined, {
    path: ['kafka'],
    error: 'expected the brokers that the sources read from',
  })
  .check(({ value: { follow, serving }, issues }) => {
    if (follow === undefined || serving.workers === 0) return;
    const message = 'expected 0 where follow is set: a read replica is one process';
    issues.push({
      code: 'custom',
      path: ['serving', 'workers'],
      input: serving.workers,
      message,
    });
  })
  .refine(({ kafka, sinks }) => sinks.length === 0 || kafka !== undefined, {
    path: ['kafka'],
    error: 'expected the brokers that the sinks write to',
  })
  .refine(({ sinks }) => new Set(sinks.map(({ name }) => name)).size === sinks.length, {
    path: ['sinks'],
    error: 'expected another name for each sink: positions are kept by it',
  })
  .refine(
    ({ remote_models }) =>
      new Set(remote_models.map(({ name }) => name)).size === remote_models.length,
    { path: ['remote_models'], error: 'expected another name for each remote model' },
  )
  .refine(({ sources }) => new Set(sources.map(({ name }) => name)).size === sources.length, {
    path: ['sources'],
    error: 'expected another name for each source: offsets are kept by it',
  })
  .refine(({ kafka, sources }) => kafka?.registry !== undefined || !sources.some(isOfSchemas), {
    path: ['kafka', 'registry'],
    error: 'expected the url of the registry that has the schemas of a source that is avro',
  });

function isOfSchemas({ mappings }: z.output<typeof sourceConfigSchema>): boolean {
  return Object.values(mappings).some(({ encoding }) => namesSchemas(encoding));
}

/** The settings of a server, complete. Paths are absolute. */
export type Config = z.output<typeof configSchema> & { models: string };

/** Settings whose values are never shown. */
const SECRET = /^(kafka\.(sasl|registry)|remote_models\.\d+\.url)\b/;
/** They hold some, and what is wrong may be the whole that they stand in. */
const SECRETIVE = new Set(['sasl', 'registry']);

type Settings = Record<string, unknown>;

/**
 * The settings: defaults, then the file, then `TIDEMARK_*` of the environment, then `overrides`
 * (the command line), the later ones over the earlier. A variable names a nested setting with two
 * underscores, as TIDEMARK_LIMITS__BODY_BYTES, and its value is read as YAML.
 * Throws BAD_CONFIG naming the key, the value, and what was expected.
 */
export function loadConfig(
  overrides: Settings,
  environment: Record<string, string | undefined>,
  file?: string,
): Config {
  const fromFile = readFile(file);
  const parse = (texts: ReadonlySet<string>) =>
    configSchema.safeParse(merge(merge(fromFile, readEnvironment(environment, texts)), overrides), {
      reportInput: true,
    });
  let parsed = parse(new Set());
  if (!parsed.success) {
    // A password of digits is a number to YAML: where a text is wanted, a variable is its text.
    parsed = parse(
      new Set(parsed.error.issues.filter(wantsText).map(({ path }) => path.join('.'))),
    );
  }
  if (!parsed.success) {
    throw badConfig(parsed.error.issues.map((issue) => describe(issue)).join('; '));
  }
  const data = resolve(parsed.data.data);
  const backup = { directories: parsed.data.backup.directories.map((path) => resolve(path)) };
  const backfill = { directories: parsed.data.backfill.directories.map((path) => resolve(path)) };
  const spines = parsed.data.exports.spine_directories.map((path) => resolve(path));
  const exports = { ...parsed.data.exports, spine_directories: spines };
  const models = resolve(parsed.data.models ?? join(data, 'models'));
  return { ...parsed.data, data, models, backup, backfill, exports };
}

/** A file that is named must be there; the one in the working directory need not, but be readable. */
function readFile(file: string | undefined): Settings {
  const path = file ?? CONFIG_FILE;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (file === undefined && isMissing) return {};
    throw badConfig(`the file ${path} cannot be read: ${String(error)}`);
  }
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    throw badConfig(`${path} is not YAML: ${String(error)}`);
  }
  if (value === null || value === undefined) return {};
  if (!isSettings(value)) throw badConfig(`${path}: expected a mapping of keys to values`);
  return value;
}

/** `texts`: the settings that are taken as they stand and not as YAML. */
function readEnvironment(
  environment: Record<string, string | undefined>,
  texts: ReadonlySet<string>,
): Settings {
  let settings: Settings = {};
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith(ENV_PREFIX) || NOT_SETTINGS.has(name) || text === undefined) continue;
    const path = name.slice(ENV_PREFIX.length).toLowerCase().split('__');
    let value: unknown;
    try {
      value = texts.has(path.join('.')) ? text : parseYaml(text);
    } catch {
      throw badConfig(`${name}: expected YAML`);
    }
    settings = merge(
      settings,
      path.reduceRight((inner, key) => ({ [key]: inner }), value) as Settings,
    );
  }
  return settings;
}

function merge(under: Settings, over: Settings): Settings {
  const merged = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = merged[key];
    merged[key] = isSettings(below) && isSettings(value) ? merge(below, value) : value;
  }
  return merged;
}

function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wantsText(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.expected === 'string';
}

function describe(issue: z.core.$ZodIssue): string {
  const key = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.map((name) => (key === '' ? name : `${key}.${name}`));
    return `${keys.join(', ')}: there is no such setting`;
  }
  // A wrong discriminator is reported with the whole object.
  const discriminator = issue.code === 'invalid_union' ? issue.discriminator : undefined;
  const got = discriminator === undefined ? issue.input : (issue.input as Settings)[discriminator];
  // What stands there may be a password, and messages end up in logs.
  const shown = SECRET.test(key) && got !== undefined ? 'another value' : show(got);
  return `${key}: got ${shown ?? 'nothing'}; ${issue.message}`;
}

function show(value: unknown): string | undefined {
  return JSON.stringify(value, (name, inner: unknown) => (SECRETIVE.has(name) ? '…' : inner));
}

function badConfig(message: string): TidemarkError {
  return new TidemarkError('BAD_CONFIG', `configuration: ${message}`);
}
