import { z } from 'zod';

import { joinQuestionQuery, queryBoolean } from './common.ts';

export const historicalQuery = z.strictObject({
  feature_views: z.string().meta({
    description:
      'What to join, separated by commas: `view` or `view@version`, renamed with `name=view@version`. The reference, or its new name, is what its columns are called by.',
    examples: ['job,member@v2,candidate=job@v3'],
  }),
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
  known_timestamps: queryBoolean
    .optional()
    .describe('Also answer `<ref>__known_timestamp`: when the vector’s source was known.'),
  created_timestamps: queryBoolean
    .optional()
    .describe('Also answer `<ref>__created_timestamp`: when the revision was stored.'),
  strict: queryBoolean
    .optional()
    .describe('End the join at the first INVALID row, rather than mark it.'),
  ...joinQuestionQuery,
});
export type HistoricalQuery = z.output<typeof historicalQuery>;

export const spineBody = z.unknown().meta({
  type: 'string',
  description:
    'The spine: one JSON object a line, with the id columns and the time column; everything else is passed through.',
  examples: ['{"job_id": 1, "event_timestamp": "2026-03-01T12:00:00Z", "label": 1}\n'],
});

export const joinedLines = z.unknown().meta({
  type: 'string',
  description:
    'The spine’s lines in their order, each with `<ref>__vector` (`dim` numbers or null), `<ref>__event_timestamp`, `<ref>__status` and `<ref>__reason`. ' +
    'The last line is `{"__summary": {rows, snapshot, question, feature_views}}` with counts by status and reason; an answer without it is not whole: ' +
    'then its last line is `{"__error": …}`, a problem, and the connection is cut.',
});
