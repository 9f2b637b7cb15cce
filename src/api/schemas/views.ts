import { z } from 'zod';

import { DIM_MAX, DTYPES } from '../../store/dtype.ts';
import { duration, durationText, instantText, versionName, viewName } from './common.ts';

const dim = z.int().min(1).max(DIM_MAX).meta({ description: 'Numbers of a vector.' });
const dtype = z.enum(DTYPES).meta({ description: 'How a vector is stored; little-endian.' });

const prompt = z
  .strictObject({
    template: z.string().min(1).max(65_536).describe('Text with `{{field}}` in it.'),
    fields: z.array(z.string().min(1).max(256)).min(1).max(256),
  })
  .meta({ id: 'Prompt', description: 'How the fields of a record become the text of the model.' });

const model = z
  .strictObject({
    name: z.string().min(1).max(256).describe('A folder among the models.'),
    prompt: prompt.optional(),
  })
  .meta({ id: 'Model', description: 'The model that makes the vectors of texts pushed here.' });

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
      .describe('The column that holds the entity id in spines and exports.'),
    ...versionFields,
    max_age: duration
      .nullish()
      .describe('How old an answer may be where a question does not say (A6); null for any age.'),
    retention: duration
      .nullish()
      .describe(
        'How far back the view can be asked (A10): what was in force then stays, with all that came later; what is older goes, for good. Null for ever.',
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
    model: z
      .strictObject({ name: z.string(), fingerprint: z.string(), prompt: prompt.optional() })
      .nullable()
      .describe('Null where vectors are made elsewhere.'),
    entities: z.int().describe('Entities that have a timeline.'),
    revisions: z.int().describe('Revisions stored, tombstones included.'),
    vectors: z.int().describe('Vectors in the pool; revisions share equal ones.'),
    file_bytes: z.int().describe('Size of its file; what is dead in it goes with a compaction.'),
  })
  .meta({ id: 'ModelVersion' });

export const featureView = z
  .strictObject({
    feature_view: z.string(),
    entity: z.string(),
    join_key: z.string(),
    created_timestamp: instantText,
    max_age: durationText.nullable().describe('Null for any age.'),
    retention: durationText.nullable().describe('Null for ever.'),
    horizon: instantText
      .nullable()
      .describe('What lies before it cannot be asked any more; null where all can.'),
    aliases: z.strictObject({ current: z.string().describe('Answers where none is named.') }),
    versions: z.record(z.string(), modelVersion).describe('By name.'),
  })
  .meta({ id: 'FeatureView' });
export type FeatureViewAnswer = z.output<typeof featureView>;

export const featureViews = z
  .strictObject({ feature_views: z.array(featureView).describe('By name.') })
  .meta({ id: 'FeatureViews' });
