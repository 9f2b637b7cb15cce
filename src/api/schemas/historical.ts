import { z } from 'zod';

import { VECTORS } from '../../timetravel/join/plan.ts';
import { SPINE_TYPES } from '../../timetravel/spine/naming.ts';
import { joinQuestionQuery, queryBoolean, questionFields } from './common.ts';

const KNOWN_TEXT = 'Also answer `<ref>__known_timestamp`: when the vector’s source was known.';
const CREATED_TEXT = 'Also answer `<ref>__created_timestamp`: when the revision was stored.';
const ALIAS_TEXT =
  'Answer each row by the version that was `current` at its moment, rather than all rows by one, and name it in `<ref>__version`. Of views named without a version whose versions have vectors of one kind; a row whose version is retired is INVALID.';
const STRICT_TEXT = 'End the join at the first INVALID row, rather than mark it.';

const featureViews = z.string().meta({
  description:
    'What to join, separated by commas: `view` or `view@version`, renamed with `name=view@version`. The reference, or its new name, is what its columns are called by.',
  examples: ['job,member@v2,candidate=job@v3'],
});

const spineFields = {
  id_columns: z
    .string()
    .optional()
    .meta({
      description:
        'The spine’s columns with the entity ids, where they are not the views’ join keys: `reference:column`, separated by commas; the reference by its new name where it has one.',
      examples: ['job:posting_id'],
    }),
  timestamp_column: z
    .string()
    .min(1)
    .default('event_timestamp')
    .describe('The spine’s column with the moment of each row.'),
  column_types: z
    .string()
    .optional()
    .meta({
      description:
        'Of NDJSON and CSV: the types of columns where their first values do not say, `column:type` separated by commas, with `int64`, `float64`, `bool`, `string`, `timestamp` or `json`.',
      examples: ['zip_code:string,clicked_at:timestamp'],
    }),
};

/** The parameters of a training join in a query string. */
export const joinQuery = {
  feature_views: featureViews,
  ...spineFields,
  known_timestamps: queryBoolean.optional().describe(KNOWN_TEXT),
  created_timestamps: queryBoolean.optional().describe(CREATED_TEXT),
  strict: queryBoolean.optional().describe(STRICT_TEXT),
  alias_as_of: queryBoolean.optional().describe(ALIAS_TEXT),
  ...joinQuestionQuery,
};

/** The same in a body. */
export const joinFields = {
  feature_views: featureViews,
  ...spineFields,
  known_timestamps: z.boolean().optional().describe(KNOWN_TEXT),
  created_timestamps: z.boolean().optional().describe(CREATED_TEXT),
  strict: z.boolean().optional().describe(STRICT_TEXT),
  alias_as_of: z.boolean().optional().describe(ALIAS_TEXT),
  boundary: joinQuestionQuery.boundary,
  knowledge: joinQuestionQuery.knowledge,
  known_at: questionFields.known_at,
  max_age: questionFields.max_age,
  at_snapshot: questionFields.at_snapshot,
  min_snapshot: questionFields.min_snapshot,
};

export const historicalQuery = z.strictObject({
  ...joinQuery,
  vectors: z
    .enum(VECTORS)
    .default('inline')
    .describe('`inline`; each vector once, beside row numbers, is for `POST /v1/exports`.'),
});

const spine = (description: string) => ({
  schema: z.unknown().meta({ type: 'string', format: 'binary', description }),
});

/** The spines that a join takes, by content type. */
export const spineBodies = {
  [SPINE_TYPES.ndjson]: {
    schema: z.unknown().meta({
      type: 'string',
      description:
        'The spine: one JSON object a line, with the id columns and the time column; everything else is passed through.',
      examples: ['{"job_id": 1, "event_timestamp": "2026-03-01T12:00:00Z", "label": 1}\n'],
    }),
  },
  [SPINE_TYPES.csv]: {
    schema: z.unknown().meta({
      type: 'string',
      description: 'The same as CSV in UTF-8, with a header; nothing between two commas is null.',
      examples: ['job_id,event_timestamp,label\n1,2026-03-01T12:00:00Z,1\n'],
    }),
  },
  [SPINE_TYPES.arrow]: spine('The same as an Arrow IPC stream; times with a zone.'),
  [SPINE_TYPES.parquet]: spine(
    'The same as a Parquet file; times with a zone. It is read when it is whole.',
  ),
};

/** The answers of a join, by content type. */
export const joinedBodies = {
  [SPINE_TYPES.ndjson]: {
    schema: z.unknown().meta({
      type: 'string',
      description:
        'The spine’s rows in their order, each with `<ref>__vector` (`dim` numbers or null), of int8 `<ref>__scale` beside it, `<ref>__event_timestamp`, `<ref>__status` and `<ref>__reason`. ' +
        'The last line is `{"__summary": {rows, snapshot, question, feature_views}}` with counts by status and reason, and `invalid`, the first 20 rows that are INVALID, where there are any; an answer without it is not whole: ' +
        'then its last line is `{"__error": …}`, a problem, and the connection is cut.',
    }),
  },
  [SPINE_TYPES.arrow]: spine(
    'The same columns with their types, vectors as `fixed_size_list`. A stream that is cut before its end mark is not whole.',
  ),
  [SPINE_TYPES.parquet]: spine(
    'The same as a Parquet file. One that is cut has no footer, and cannot be opened.',
  ),
};
