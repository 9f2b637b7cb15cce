import { z } from 'zod';

import { entityIdMeta, instantText, viewRef } from './common.ts';

const scopeFields = {
  entity: z
    .string()
    .min(1)
    .max(63)
    .describe('The entity type: that of a feature view, of `feature_view` where it is given.'),
  feature_view: viewRef
    .optional()
    .describe(
      'Erase in this view alone; in all views of the entity type, those to come too, where it is left out.',
    ),
  entity_ids: z
    .array(z.unknown())
    .min(1)
    .meta({ items: entityIdMeta, description: 'The entities; none need be there.' }),
};

export const eraseBody = z.strictObject(scopeFields).meta({
  id: 'EraseRequest',
  examples: [{ entity: 'member', entity_ids: ['7'] }],
});
export type EraseBody = z.output<typeof eraseBody>;

export const liftBody = z.strictObject(scopeFields).meta({ id: 'LiftErasureRequest' });

export const liftAnswer = z
  .strictObject({
    entity: z.string(),
    feature_view: z.string().nullable(),
    entities: z.int().describe('How many of them were erased, and may be stored again.'),
  })
  .meta({ id: 'LiftErasureAnswer' });
export type LiftAnswer = z.output<typeof liftAnswer>;

export const erasure = z
  .strictObject({
    erasure_id: z.string(),
    entity: z.string(),
    feature_view: z.string().nullable().describe('Null for all views of the entity type.'),
    entities: z.int().describe('How many were asked for. The receipt does not say which.'),
    seq: z.int().describe('The erasure’s number in the store.'),
    stages: z.strictObject({
      erased: z
        .strictObject({
          at: instantText.describe(
            'From here on every read says ERASED and nothing is stored, in every version.',
          ),
          removed_at: instantText
            .nullable()
            .describe('When it was gone from all databases; null while that waits for other work.'),
          removed: z
            .strictObject({
              entities: z.int(),
              revisions: z.int(),
              inputs: z.int(),
              dead_letters: z.int(),
            })
            .nullable()
            .describe('Each once a model version; null where others’ removal went with it.'),
        })
        .describe('The first stage.'),
      compacted: z
        .strictObject({
          at: instantText
            .nullable()
            .describe('When no byte of it was left in any file of the store; null before.'),
        })
        .describe('The second stage.'),
    }),
    out_of_reach: z
      .array(z.string())
      .describe('Where copies may be that an erasure does not remove, and what is to be done.'),
  })
  .meta({ id: 'Erasure', description: 'The receipt of an erasure.' });
export type ErasureAnswer = z.output<typeof erasure>;

export const erasures = z
  .strictObject({ erasures: z.array(erasure).describe('The newest first.') })
  .meta({ id: 'Erasures' });
