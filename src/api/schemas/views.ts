import { z } from 'zod';

import { DIM_MAX, DTYPES } from '../../store/dtype.ts';
import { duration, durationText, instantText, versionName, viewName } from './common.ts';
import { versionHealth } from './health.ts';

const dim = z.int().min(1).max(DIM_MAX).meta({ description: 'Numbers of a vector.' });
const dtype = z.enum(DTYPES).meta({ description: 'How a vector is stored; little-endian.' });

const prompt = z
  .strictObject({
    template: z.string().min(1).max(65_536).describe('Text with `{{field}}` in it.'),
    fields: z.array(z.string().min(1).max(256)).min(1).max(256),
    chars_max: z
      .record(z.string(), z.int().min(1).max(10_000_000))
      .optional()
      .describe('The longest value of a field, in UTF-16 units; what is beyond is left out.'),
    parts: z
      .record(z.string(), z.array(z.string()).min(1).max(256))
      .optional()
      .describe(
        'Where the fields come in several records, as of several topics: by part, which fields its records say. Every field is in one part. What was said is kept, and the text is made of the last word on every field.',
      ),
  })
  .meta({ id: 'Prompt', description: 'How the fields of a record become the text of the model.' });

const model = z
  .strictObject({
    name: z.string().min(1).max(256).describe('A folder among the models.'),
    prompt: prompt.optional(),
    empty_text: z
      .enum(['refuse', 'delete'])
      .optional()
      .describe('What a text means of which nothing is left to embed; `refuse` if not said.'),
    keep_inputs: z
      .boolean()
      .optional()
      .describe(
        'Whether the texts that the model reads are stored, so that another model can be run over them; false if not said. An erasure removes them.',
      ),
  })
  .meta({ id: 'Model', description: 'The model that makes the vectors of texts pushed here.' });

/** Columns that mean something else to a training join. */
const NOT_IDS = new Set(['event_timestamp', '__summary', '__error']);

/** Zero would let go all that is not in force. */
const aLongTime = duration.refine((length) => length > 0, {
  error: 'got no time at all, expected a duration longer than zero, such as P30D',
  params: { code: 'BAD_DURATION' },
});

const versionFields = {
  version: versionName,
  dim,
  dtype,
  model: model.optional().describe('Left out for vectors that are made elsewhere.'),
};

export const viewBody = z
  .strictObject({
    entity: viewName.describe('The entity type: `job`, `member`.'),
    join_key: z
      .string()
      .min(1)
      .max(128)
      .refine((column) => !NOT_IDS.has(column), {
        error: 'expected another name: spines have the time, or joins their end, in that column',
      })
      .describe('The column that holds the entity id in spines and exports.'),
    ...versionFields,
    max_age: duration
      .nullish()
      .describe(
        'How old an answer may be where a question does not say (A6); null for any age. Left out, it stays as it is.',
      ),
    retention: aLongTime
      .nullish()
      .describe(
        'How far back the view can be asked (A10): what was in force then stays, with all that came later; what is older goes, for good, at once where the retention is made shorter. Null for ever; left out, it stays as it is.',
      ),
  })
  .extend({
    history: z
      .enum(['all', 'latest_only'])
      .optional()
      .describe(
        'Whether every record is kept (A4), as it is if not said; or, of the texts of an entity that come together, the last one alone, which spares inference and cannot be joined as of the moments between. Left out, it stays as it is.',
      ),
  })
  .meta({
    id: 'NewFeatureView',
    examples: [{ entity: 'job', join_key: 'job_id', version: 'v1', dim: 384, dtype: 'float32' }],
  });

export const versionBody = z.strictObject(versionFields).meta({ id: 'NewModelVersion' });
export type VersionBody = z.output<typeof versionBody>;

const modelVersion = z
  .strictObject({
    dim,
    dtype,
    created_timestamp: instantText,
    kept_until: instantText
      .nullable()
      .describe('It answered before, and is retired by itself from then on; null: it is not.'),
    model: z
      .strictObject({
        name: z.string(),
        fingerprint: z.string(),
        prompt: prompt.optional(),
        empty_text: z.enum(['refuse', 'delete']).optional(),
        keep_inputs: z.literal(true).optional(),
      })
      .nullable()
      .describe('Null where vectors are made elsewhere.'),
    entities: z.int().describe('Entities that have a timeline.'),
    revisions: z.int().describe('Revisions stored, tombstones included.'),
    vectors: z.int().describe('Vectors in the pool; revisions share equal ones.'),
    kept_input_bytes: z.int().describe('What the texts of its inputs take of that, where kept.'),
    file_bytes: z.int().describe('Size of its file; what is dead in it goes with a compaction.'),
    health: versionHealth
      .nullable()
      .describe('Null while it was not measured, and where there is nothing to measure.'),
  })
  .meta({ id: 'ModelVersion' });

export const aliases = z
  .strictObject({
    current: z.string().describe('Answers where none is named.'),
    candidate: z
      .string()
      .optional()
      .describe('Was added last, and did not answer yet, or no more.'),
    previous: z.string().optional().describe('Answered before; what a rollback goes back to.'),
  })
  .meta({ id: 'Aliases', description: 'What the versions of a view are to each other.' });

export const featureView = z
  .strictObject({
    feature_view: z.string(),
    entity: z.string(),
    join_key: z.string(),
    created_timestamp: instantText,
    max_age: durationText.nullable().describe('Null for any age.'),
    retention: durationText.nullable().describe('Null for ever.'),
    history: z.enum(['all', 'latest_only']),
    horizon: instantText
      .nullable()
      .describe('What lies before it cannot be asked any more; null where all can.'),
    aliases,
    versions: z.record(z.string(), modelVersion).describe('By name.'),
  })
  .meta({ id: 'FeatureView' });
export type FeatureViewAnswer = z.output<typeof featureView>;

export const featureViews = z
  .strictObject({ feature_views: z.array(featureView).describe('By name.') })
  .meta({ id: 'FeatureViews' });
