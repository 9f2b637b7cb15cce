import { z } from 'zod';

import { instant, instantText, pageQuery, viewRef } from './common.ts';

/** Entities of one targeted backfill. */
const ENTITIES_MAX = 100_000;

const column = z.string().min(1).max(1_024);

const fileColumns = z
  .strictObject({
    entity_id: column,
    event_timestamp: column,
    known_timestamp: column
      .optional()
      .describe('When the source event was known; the event time where it is left out.'),
    text: column.optional().describe('The whole text that the model reads.'),
    fields: z
      .record(z.string(), column)
      .optional()
      .describe('By field of the version’s prompt: its column.'),
    vector: column.optional().describe('Pre-computed vectors, as lists of numbers.'),
    deleted: column.optional().describe('True in rows that are tombstones.'),
  })
  .refine(
    ({ text, fields, vector }) =>
      [text, fields, vector].filter((each) => each !== undefined).length === 1,
    'expected one of text, fields and vector',
  )
  .describe('Which column has what.');
export type FileColumns = z.output<typeof fileColumns>;

const origin = z.discriminatedUnion(
  'kind',
  [
    z
      .strictObject({
        kind: z.literal('inputs'),
        version: z.string().describe('A version of the view that keeps its inputs, by its name.'),
      })
      .describe('The stored inputs of another version, up to the snapshot of now.'),
    z
      .strictObject({
        kind: z.literal('file'),
        path: z
          .string()
          .min(1)
          .max(4_096)
          .refine((path) => !path.includes('\0'), 'has a NUL, which no path may have')
          .describe(
            'A file on the server’s own disk, inside a directory of the setting `backfill.directories`.',
          ),
        format: z
          .enum(['ndjson', 'parquet'])
          .optional()
          .describe('What it is, where the end of its name does not say.'),
        columns: fileColumns,
      })
      .describe('The rows of a file.'),
    z
      .strictObject({
        kind: z.literal('source'),
        name: z.string().describe('A source of the settings that has texts of the view.'),
      })
      .describe(
        'The topics of a source, from their beginning up to where its live reader of the version began.',
      ),
  ],
  { error: 'expected the kind inputs, file or source' },
);

const windowFields = {
  from: instant.optional().describe('The least event time.'),
  to: instant.optional().describe('The event time that is too late.'),
};

export const backfillBody = z
  .strictObject({
    feature_view: viewRef,
    version: z
      .string()
      .meta({ description: 'The version to fill, by its name.', examples: ['v2'] }),
    from: origin,
    window: z
      .strictObject(windowFields)
      .default({})
      .describe('Of event times; all where it is left out.'),
    entity_ids: z
      .array(z.string().min(1).max(1_024))
      .min(1)
      .max(ENTITIES_MAX)
      .optional()
      .describe('These entities alone.'),
    plan: z
      .boolean()
      .default(false)
      .describe('Say what it would do and how long that would take, and store nothing.'),
  })
  .meta({
    id: 'BackfillRequest',
    examples: [{ feature_view: 'job', version: 'v2', from: { kind: 'inputs', version: 'v1' } }],
  });
export type BackfillBody = z.output<typeof backfillBody>;

const count = z.int();

export const backfillAnswer = z
  .strictObject({
    id: z.string(),
    state: z
      .enum(['queued', 'running', 'done', 'failed', 'cancelled'])
      .describe('`queued` and `running` end as one of the others.'),
    feature_view: z.string(),
    version: z.string(),
    from: z.strictObject({
      kind: z.enum(['inputs', 'file', 'source']),
      version: z.string().optional(),
      path: z.string().optional(),
      name: z.string().optional(),
    }),
    window: z.strictObject({ from: instantText.nullable(), to: instantText.nullable() }),
    entities: count.nullable().describe('To how many entities it is limited; null: to none.'),
    created_timestamp: instantText,
    started_timestamp: instantText.nullable(),
    ended_timestamp: instantText.nullable(),
    events: z
      .strictObject({
        total: count.nullable().describe('Null before they are counted.'),
        read: count,
        stored: count.describe('Revisions that are new.'),
        duplicate: count.describe('They were there, as from a live stream (A4).'),
        erased: count.describe('Of erased entities: nothing about them is stored (A8).'),
        rejected: count.describe('They cannot become revisions.'),
        skipped: count.describe('Outside of the window, or of other entities.'),
      })
      .describe('Of a source they are counted by its offsets.'),
    inputs: z.strictObject({
      embedded: count.describe('Those that a model was run for.'),
      shared: count.describe('Those that an equal one has a vector of.'),
    }),
    rejected: z
      .array(
        z.strictObject({
          position: z.strictObject({ topic: z.string(), partition: count, offset: count }),
          reason: z.string(),
          message: z.string(),
        }),
      )
      .describe(
        'The first of them; 100,000 are in `rejected.ndjson` in the folder of the backfill.',
      ),
    events_per_second: z.number().nullable(),
    seconds_left: z.number().nullable(),
    waits_for: z.string().nullable().describe('What keeps it from going on; it is tried again.'),
    problem: z
      .strictObject({ code: z.string(), detail: z.string() })
      .nullable()
      .describe('Why it failed.'),
  })
  .meta({ id: 'Backfill' });
export type BackfillAnswer = z.output<typeof backfillAnswer>;

export const backfillPlanAnswer = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    exact: z.boolean().describe('False where the counts are estimates from a sample.'),
    events: count.describe('Of the history, whether they are wanted or not.'),
    wanted: count.describe('Those in the window and of the entities that are asked for.'),
    deletes: count,
    rejected: count,
    erased: count,
    distinct_inputs: count,
    pooled_inputs: count.describe('Those of them that the version has a vector of already.'),
    tokens: count.describe('Of the inputs that are to be embedded.'),
    sampled_inputs: count.describe('Of how many of them the tokens were counted.'),
    tokens_per_second: z.number().nullable().describe('As a batch of the sample ran just now.'),
    device_seconds: z.number(),
    bytes: count.describe('That the version would grow by, about.'),
    seconds: z.number(),
    ends_timestamp: instantText.describe('When it would be over if it began now.'),
  })
  .meta({ id: 'BackfillPlan' });
export type BackfillPlanAnswer = z.output<typeof backfillPlanAnswer>;

export const backfillsQuery = pageQuery('Backfills');

export const backfillsAnswer = z
  .strictObject({
    backfills: z.array(backfillAnswer).describe('The newest first.'),
    next: z.string().nullable().describe('The cursor of the next page; null on the last.'),
  })
  .meta({ id: 'Backfills' });
export type BackfillsAnswer = z.output<typeof backfillsAnswer>;

export const backfillPath = z.strictObject({
  id: z.string().max(64).describe('The backfill, as it was called when it was taken in.'),
});
