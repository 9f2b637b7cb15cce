import { z } from 'zod';

import { EXPORT_STATES, VECTOR_FORMATS } from '../../timetravel/exports/record.ts';
import { ANSWER_FORMATS } from '../../timetravel/formats/answer.ts';
import { ORDERS, VECTORS } from '../../timetravel/join/plan.ts';
import { BOUNDARIES, KNOWLEDGE } from '../../timetravel/question.ts';
import { SPINE_FORMATS } from '../../timetravel/spine/window.ts';
import {
  instant,
  instantText,
  maxAge,
  pageQuery,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';
import { joinFields, joinQuery } from './historical.ts';

const exportFields = {
  format: z.enum(ANSWER_FORMATS).default('parquet').describe('What the parts are written as.'),
  vectors: z
    .enum(VECTORS)
    .default('inline')
    .describe(
      '`inline`: beside each row. `ref`: each distinct vector once, in tables of their own, and `<ref>__vector_row` beside the row, by which it is found there: often a tenth of the bytes.',
    ),
  vector_format: z
    .enum(VECTOR_FORMATS)
    .default('safetensors')
    .describe('Of `vectors=ref` alone: what the tables of vectors are written as.'),
  order: z
    .enum(ORDERS)
    .default('spine')
    .describe(
      'Of the rows of a part: `spine`, as they came; `entity`, those of an entity together and by their moments, with the row number beside.',
    ),
};

/** In the query where the body is the spine; where the body is JSON, nothing. */
export const exportQuery = z.strictObject({
  ...joinQuery,
  feature_views: joinQuery.feature_views.optional(),
  ...exportFields,
});
export type ExportQuery = z.output<typeof exportQuery>;

export const exportBody = z
  .strictObject({
    spine: z
      .strictObject({
        path: z
          .string()
          .min(1)
          .max(4_096)
          .refine((path) => !path.includes('\0'), 'has a NUL, which no path may have')
          .describe(
            'A file on the server’s own disk, inside a directory of the setting `exports.spine_directories`.',
          ),
        format: z
          .enum(SPINE_FORMATS)
          .optional()
          .describe('What it is, where the end of its name does not say.'),
      })
      .optional()
      .describe('The rows to join; to send them instead, send them as the body.'),
    revisions: z
      .strictObject({
        feature_view: viewRef,
        version: versionRef.optional(),
        from: instant
          .nullish()
          .describe('The least event time; from the first on where it is left out.'),
        to: instant.nullish().describe('The event time that is too late.'),
      })
      .optional()
      .describe(
        'Instead of a spine: each revision of a model version is a row, tombstones too, by entity and in A2 order. Of the parameters of a join those of the snapshot and `known_at` hold; others are refused.',
      ),
    ...joinFields,
    feature_views: joinFields.feature_views.optional(),
    ...exportFields,
  })
  .meta({
    id: 'ExportRequest',
    examples: [{ spine: { path: '/spines/clicks.parquet' }, feature_views: 'job,member@v2' }],
  });
export type ExportBody = z.output<typeof exportBody>;

/** What is told of any join. */
const summaryFields = {
  rows: z.int().describe('Rows done.'),
  snapshot,
  question: z.strictObject({
    boundary: z.enum(BOUNDARIES),
    knowledge: z.enum(KNOWLEDGE),
    known_at: instantText.nullable(),
    alias_as_of: z.literal(true).optional(),
  }),
  feature_views: z
    .record(
      z.string(),
      z.strictObject({
        feature_view: z.string(),
        version: z.string().nullable().describe('Null with `alias_as_of`.'),
        versions: z
          .record(z.string(), z.int())
          .optional()
          .describe('With `alias_as_of`: how many of the rows done each version answered.'),
        dim: z.int(),
        dtype: z.string(),
        max_age: maxAge,
        statuses: z.record(z.string(), z.int()),
        reasons: z.record(z.string(), z.int()),
      }),
    )
    .describe('By reference, with how many of the rows done had which status and reason.'),
  invalid: z
    .array(z.strictObject({ row: z.string(), feature_view: z.string(), reason: z.string() }))
    .optional()
    .describe('The first 20 rows that are INVALID, by the names that the spine has for them.'),
  notes: z.array(z.string()).optional(),
  revisions: z
    .strictObject({ from: instantText.nullable(), to: instantText.nullable() })
    .nullable()
    .describe('Where the rows are revisions: between which event times, the second exclusive.'),
  timestamp_column: z.string(),
  format: z.enum(ANSWER_FORMATS),
  vectors: z.enum(VECTORS),
  vector_format: z.enum(ANSWER_FORMATS).nullable(),
  order: z.enum(ORDERS),
  bytes: z.int().describe('Bytes of the files written.'),
};

export const exportAnswer = z
  .strictObject({
    id: z.string(),
    state: z
      .enum(EXPORT_STATES)
      .describe(
        '`queued` and `running` end as `done`, `failed` or `cancelled`; what is done expires.',
      ),
    created_timestamp: instantText,
    started_timestamp: instantText.nullable(),
    ended_timestamp: instantText.nullable(),
    expires_timestamp: instantText.nullable().describe('When the files go.'),
    ...summaryFields,
    rows_total: z.int().nullable().describe('Rows of the spine, where they are known.'),
    files: z.int(),
    rows_per_second: z.number().nullable(),
    seconds_left: z.number().nullable(),
    problem: z
      .strictObject({ code: z.string(), detail: z.string() })
      .nullable()
      .describe('Why it failed.'),
  })
  .meta({ id: 'Export' });
export type ExportAnswer = z.output<typeof exportAnswer>;

export const exportsQuery = pageQuery('Exports');

export const exportsAnswer = z
  .strictObject({
    exports: z.array(exportAnswer).describe('The newest first.'),
    next: z.string().nullable().describe('The cursor of the next page; null on the last.'),
  })
  .meta({ id: 'Exports' });
export type ExportsAnswer = z.output<typeof exportsAnswer>;

const exportId = z.string().max(64).describe('The export, as it was called when it was taken in.');

export const exportPath = z.strictObject({ id: exportId });

export const exportFilePath = z.strictObject({
  id: exportId,
  folder: z.string().max(16).describe('`parts` or `vectors`.'),
  file: z.string().max(256).describe('The file’s name, as the manifest has it.'),
});

export const fileBytes = z.unknown().meta({ type: 'string', format: 'binary' });

export const manifestAnswer = z
  .strictObject({
    format_version: z.int(),
    id: z.string(),
    created_timestamp: instantText,
    ended_timestamp: instantText,
    ...summaryFields,
    spine: z.strictObject({ format: z.enum(SPINE_FORMATS), bytes: z.int() }).nullable(),
    id_columns: z
      .record(z.string(), z.string())
      .describe('By reference: the spine’s column with the entity ids.'),
    columns: z
      .array(z.strictObject({ name: z.string(), type: z.string() }))
      .readonly()
      .describe('Of the parts, in their order, with their types as Arrow calls them.'),
    files: z.array(
      z.strictObject({
        path: z.string().describe('`parts/…` or `vectors/…`, in the order of their rows.'),
        rows: z.int(),
        bytes: z.int(),
        sha256: z.string(),
        first_row: z.int().optional().describe('Of a part: the number of its first row, from 0.'),
        feature_view: z.string().optional().describe('Of a table of vectors: the reference.'),
        first_vector_row: z
          .int()
          .optional()
          .describe('Of a table of vectors: the `<ref>__vector_row` of its first row.'),
      }),
    ),
  })
  .meta({
    id: 'ExportManifest',
    description:
      'What the export is: the resolved question, the snapshot, counts by status and reason, the columns, and each file with its SHA-256.',
  });
export type ExportManifest = z.output<typeof manifestAnswer>;
