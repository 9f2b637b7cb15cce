import { z } from 'zod';

import { instantText } from './common.ts';

/** Feast's own request: what it has beside these is left aside, as its feature server does. */
export const feastBody = z
  .object({
    features: z
      .array(z.string())
      .optional()
      .describe(
        '`view:feature` or `view@version:feature`. A view has one feature, its vector, which is called as it is asked for.',
      ),
    feature_service: z.string().nullish().describe('There are none: name the features.'),
    entities: z
      .record(z.string(), z.array(z.unknown()))
      .describe('Join keys, each with as many values as there are rows.'),
    full_feature_names: z
      .boolean()
      .default(false)
      .describe('Whether a feature is called `view__feature`.'),
    include_feature_view_version_metadata: z.boolean().default(false),
  })
  .meta({
    id: 'FeastRequest',
    examples: [{ features: ['job:vector'], entities: { job_id: [42, 43] } }],
  });
export type FeastBody = z.output<typeof feastBody>;

export const feastAnswer = z
  .strictObject({
    metadata: z.strictObject({
      feature_names: z.array(z.string()).describe('The join keys, then the features.'),
      feature_view_metadata: z
        .array(z.strictObject({ name: z.string(), version: z.int() }))
        .optional()
        .describe('The number in the version’s name; 0 where it has none.'),
    }),
    results: z
      .array(
        z.strictObject({
          values: z.array(z.unknown()).describe('Of a feature: numbers, or null.'),
          statuses: z.array(z.string()),
          event_timestamps: z.array(instantText).describe('1970-01-01T00:00:00Z for none.'),
        }),
      )
      .describe('Columns: one a feature name, each with one value a row.'),
  })
  .meta({ id: 'FeastAnswer' });
export type FeastAnswer = z.output<typeof feastAnswer>;
