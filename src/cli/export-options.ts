import { type Command, Option } from 'commander';

import type { ExportAnswer } from '../api/schemas/exports.ts';
import { VECTOR_FORMATS } from '../timetravel/exports/record.ts';
import { ANSWER_FORMATS } from '../timetravel/formats/answer.ts';
import { ORDERS, VECTORS } from '../timetravel/join/plan.ts';
import { SPINE_FORMATS, type SpineFormat } from '../timetravel/spine/window.ts';
import { timeOption } from './cli.ts';
import { type QuestionOptions, questionOf, withBounds } from './question.ts';

/** What those options say. */
export interface ExportOptions extends QuestionOptions {
  views?: string;
  revisions?: string;
  from?: string;
  to?: string;
  idColumns?: string;
  timestampColumn?: string;
  columnTypes?: string;
  knownTimestamps?: boolean;
  createdTimestamps?: boolean;
  strict?: boolean;
  aliasAsOf?: boolean;
  spineFormat?: SpineFormat;
  format?: ExportAnswer['format'];
  vectors?: ExportAnswer['vectors'];
  vectorFormat?: (typeof VECTOR_FORMATS)[number];
  order?: ExportAnswer['order'];
}

/** The options that say what is exported, and as what. */
export function withExport(command: Command): Command {
  return withBounds(command)
    .option(
      '--views <references>',
      'what to join: view, view@version or name=view@version, separated by commas',
    )
    .option('--revisions <reference>', 'view or view@version: all its revisions, without a spine')
    .option('--from <time>', 'of revisions: from this event time on', timeOption)
    .option('--to <time>', 'of revisions: before this event time', timeOption)
    .option('--id-columns <pairs>', 'reference:column, where ids are not in the views’ join keys')
    .option('--timestamp-column <column>', 'the moment of each row; default: event_timestamp')
    .option('--column-types <pairs>', 'column:type, of NDJSON and CSV')
    .option('--known-timestamps', 'also when each vector’s source was known')
    .option('--created-timestamps', 'also when each revision was stored')
    .option('--alias-as-of', 'each row by the version that was current at its moment')
    .option('--strict', 'end at the first row that is INVALID')
    .addOption(new Option('--spine-format <format>', 'what the spine is').choices(SPINE_FORMATS))
    .addOption(new Option('--format <format>', 'what the parts are').choices(ANSWER_FORMATS))
    .addOption(new Option('--vectors <how>', 'beside each row, or each once').choices(VECTORS))
    .addOption(
      new Option('--vector-format <format>', 'of vectors that stand apart').choices(VECTOR_FORMATS),
    )
    .addOption(new Option('--order <order>', 'of the rows of a part').choices(ORDERS));
}

/** The parameters of an export of a spine, as a query has them. */
export function queryOf(options: ExportOptions): URLSearchParams {
  const said = {
    feature_views: options.views,
    id_columns: options.idColumns,
    timestamp_column: options.timestampColumn,
    column_types: options.columnTypes,
    known_timestamps: options.knownTimestamps,
    created_timestamps: options.createdTimestamps,
    strict: options.strict,
    alias_as_of: options.aliasAsOf,
    order: options.order,
    ...filesOf(options),
    ...questionOf(options),
  };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(said)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return query;
}

/** Those of an export of revisions, as a body has them. */
export function revisionsOf(reference: string, options: ExportOptions) {
  const [feature_view = '', ...rest] = reference.split('@');
  const version = rest.length === 0 ? undefined : rest.join('@');
  const { from, to } = options;
  return {
    revisions: {
      feature_view,
      ...(version !== undefined && { version }),
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to }),
    },
    ...filesOf(options),
    ...questionOf(options),
  };
}

/** What was said that has no meaning without a spine, as it is written. */
export function optionsOfJoin(options: ExportOptions): string[] {
  const said = {
    '--id-columns': options.idColumns,
    '--timestamp-column': options.timestampColumn,
    '--column-types': options.columnTypes,
    '--known-timestamps': options.knownTimestamps,
    '--created-timestamps': options.createdTimestamps,
    '--strict': options.strict,
    '--alias-as-of': options.aliasAsOf,
    '--spine-format': options.spineFormat,
    '--order': options.order,
    '--boundary': options.boundary,
    '--knowledge': options.knowledge,
    '--max-age': options.maxAge,
  };
  return Object.entries(said)
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name);
}

function filesOf({ format, vectors, vectorFormat }: ExportOptions) {
  return {
    ...(format !== undefined && { format }),
    ...(vectors !== undefined && { vectors }),
    ...(vectorFormat !== undefined && { vector_format: vectorFormat }),
  };
}
