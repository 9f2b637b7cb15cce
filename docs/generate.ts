import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { z } from 'zod';

import { statusOf } from '../src/api/problem.ts';
import { configSchema, loadConfig } from '../src/config.ts';
import type { ErrorCode } from '../src/ground/errors.ts';
import { startTidemark } from '../src/main.ts';

/*
 * What these pages say of settings, codes and metrics comes from the code: `npm run docs` writes it
 * between two marks of each page, and a test compares.
 */

const BEGIN = '<!-- written by `npm run docs`: begin -->';
const END = '<!-- written by `npm run docs`: end -->';

/** The pages by name, as they should be. */
export async function pages(): Promise<Record<string, string>> {
  const tables = {
    'configuration.md': settingsTable(),
    'errors.md': errorsTable(),
    'metrics.md': await metricsTable(),
  };
  return Object.fromEntries(
    Object.entries(tables).map(([name, table]) => [name, withTable(name, table)]),
  );
}

function withTable(name: string, table: string): string {
  const text = readFileSync(join(import.meta.dirname, name), 'utf8');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${name} has lost its marks`);
  return `${before}${BEGIN}\n\n${table}\n\n${END}${after}`;
}

/** The part of JSON Schema that settings are written in. */
interface Schema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
}

/** Of settings whose schema says nothing of itself: of Kafka, where names say most. */
const MEANINGS: Record<string, string> = {
  limits:
    'What a request may send, what one answer may hold, and how long clients are waited for; of each process.',
  maintenance: 'The upkeep of the files.',
  backup: 'Backups.',
  backfill: 'Filling a model version with what came before it.',
  exports: 'Training joins, and their answers as files.',
  serving: 'Lookups.',
  promotion: 'What a model version must pass before it is promoted, and is held against later.',
  'promotion.canaries[].feature_view': 'The view whose versions are asked.',
  'promotion.canaries[].texts': 'The two texts.',
  'promotion.canaries[].cosine_min': 'The least cosine of their vectors.',
  'promotion.canaries[].cosine_max': 'The greatest.',
  skew_check: 'Whether what is served is what training joins find.',
  shadow: 'What a view’s candidate would answer, for a sample of lookups; of each process.',
  inference: 'How models run.',
  'kafka.brokers': 'Addresses as `host:port`.',
  'kafka.ssl':
    'Encrypts: true with the well-known authorities, or a mapping with `ca`, `cert`, `key` (files in PEM) and `server_name`.',
  'kafka.sasl':
    'The login: `mechanism` is plain, scram-sha-256 or scram-sha-512 with `username` and `password` or `password_file`; or oauthbearer with `token_file`.',
  'kafka.registry': 'The registry of the schemas of Avro and JSON Schema.',
  'kafka.registry.url': 'Its address.',
  'kafka.registry.username': 'The login, where it wants one.',
  'kafka.registry.password': 'Its password.',
  'kafka.registry.password_file': 'A file with the password alone, in place of `password`.',
  'sources[].name': 'Offsets are kept by it, and logs and metrics call the source so.',
  'sources[].feature_view': 'The view that the records belong to.',
  'sources[].version':
    'The model version of it; never an alias (A14). Needed for vectors; a source of fields without it feeds each version whose prompt takes them, as versions come and go.',
  'sources[].from':
    'Where a partition starts that was never read; of a source without `version`, for the version that is current: others start at the end.',
  'sources[].group_prefix': 'The first part of the consumer group’s id.',
  'sources[].on_data_loss':
    'What to do when the broker has deleted records before they were read: stop, or note it and go on.',
  'sources[].max_value_bytes': 'A larger value becomes a dead letter, unparsed.',
  'sources[].dead_letter_topic':
    'Where dead letters are published too; true: for each topic one of its name and `.dlq`.',
  'sources[].content': 'What the records hold: vectors, or the fields of a text.',
  'sources[].topics':
    'The topics: each a name, or a mapping of `topic` and those of the settings below, from `encoding` on, that are its own.',
  'sources[].encoding': 'How bytes become a value; `json` if not set.',
  'sources[].envelope': 'What the value is wrapped in; `none` if not set.',
  'sources[].entity_id': 'The field with the entity id; the record’s key where it is absent.',
  'sources[].key_field': 'The field of the key with the id, where keys are encoded as values are.',
  'sources[].event_timestamp':
    'When it became true: `record`, `{path, unit}` with the unit s, ms, us, ns or rfc3339, or `{header, unit}`.',
  'sources[].known_timestamp':
    'When it was known: `arrival`, `event`, or as `event_timestamp`. Needed.',
  'sources[].delete_when': 'What marks a record whose value is not null as a delete.',
  'sources[].delete_when.path': 'The field to look at.',
  'sources[].delete_when.equals': 'What stands in it.',
  'sources[].null_value': 'What a null value means.',
  'sources[].delete_timestamp':
    'When a null value’s delete happened, where the event time stands in the value.',
  'sources[].vector': 'The field with the vector: numbers, base64, or bytes in the dtype.',
  'sources[].scale': 'The field with the scale of a vector of int8; `scale` if not said.',
  'sources[].fields':
    'The fields that a prompt can use: the path of an object, or a path for each name; without it, those of the whole row.',
  'sources[].part': 'Which part of their entity the records are about, where the prompt has parts.',
  'sinks[].name': 'Positions are kept by it.',
  'sinks[].feature_view': 'The view whose revisions are published.',
  'sinks[].version': 'The model version of it.',
  'sinks[].topic': 'Where to.',
  'sinks[].from': 'Where it begins, if no position is kept.',
};

function settingsTable(): string {
  const schema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Schema;
  const rows = settingsOf(schema, '').map((cells) => `| ${cells.join(' | ')} |`);
  return ['| setting | type | default | range | meaning |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}

function settingsOf({ properties = {}, required = [] }: Schema, above: string): string[][] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    const path = `${above}${key}`;
    const meaning = schema.description ?? MEANINGS[path];
    if (meaning === undefined) {
      throw new Error(`the setting ${path} has no description: give it one in its schema`);
    }
    const isGroup = schema.properties !== undefined;
    const preset = isGroup ? '' : JSON.stringify(schema.default);
    // A topic's own settings are those of its source.
    const inside = path === 'sources[].topics' ? undefined : schema.items;
    return [
      [
        `\`${path}\``,
        typeOf(schema),
        preset === undefined ? (required.includes(key) ? 'needed' : '') : preset && `\`${preset}\``,
        rangeOf(schema),
        meaning,
      ].map((cell) => cell.replaceAll('|', '\\|')),
      ...settingsOf(schema, `${path}.`),
      ...(inside === undefined ? [] : settingsOf(inside, `${path}[].`)),
    ];
  });
}

function typeOf({ type, properties, anyOf, oneOf, enum: values }: Schema): string {
  const either = anyOf ?? oneOf;
  if (either !== undefined) return [...new Set(either.map(typeOf))].join(' or ');
  if (values !== undefined) return 'word';
  if (properties !== undefined || type === 'object') return 'mapping';
  if (type === 'array') return 'list';
  return [type ?? 'any'].flat().join(' or ');
}

function rangeOf({ const: only, enum: values, minimum, maximum, ...rest }: Schema): string {
  if (values !== undefined) return values.join(', ');
  if (only !== undefined) return JSON.stringify(only);
  const least = minimum ?? rest.minItems;
  const bound = maximum ?? rest.maxItems;
  const most = bound === Number.MAX_SAFE_INTEGER ? undefined : bound;
  if (least !== undefined) return most === undefined ? `from ${least}` : `${least} to ${most}`;
  return most === undefined ? '' : `at most ${most}`;
}

/** A code stands under the comment that says what to do; some share one. */
function errorsTable(): string {
  const source = readFileSync(join(import.meta.dirname, '../src/ground/errors.ts'), 'utf8');
  let meaning = '';
  const rows: string[] = [];
  for (const [, comment, code] of source.matchAll(
    /^ {2}\/\*\* (.+) \*\/$|^ {2}\| '([A-Z_]+)';?$/gm,
  )) {
    if (comment !== undefined) meaning = comment;
    else rows.push(`| \`${code}\` | ${statusOf(code as ErrorCode)} | ${meaning} |`);
  }
  return ['| code | status | what it means, and what to do |', '|---|---|---|', ...rows].join('\n');
}

/** As a server says them: a replica, for it has some that a leader has not. */
async function metricsTable(): Promise<string> {
  const data = mkdtempSync(join(tmpdir(), 'tidemark-docs-'));
  const follow = 'http://127.0.0.1:1';
  const settings = { data, port: 0, log_level: 'silent', follow };
  const server = await startTidemark(loadConfig(settings, {}));
  try {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const rows = [...text.matchAll(/^# HELP (tidemark_\S+) (.+)\n# TYPE \S+ (\S+)$/gm)].map(
      ([, name, help, type]) => `| \`${name}\` | ${type} | ${help} |`,
    );
    return ['| metric | type | meaning |', '|---|---|---|', ...rows.toSorted()].join('\n');
  } finally {
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await pages())) {
    writeFileSync(join(import.meta.dirname, name), text);
    console.log(`wrote docs/${name}`);
  }
}
