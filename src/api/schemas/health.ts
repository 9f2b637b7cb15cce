import { z } from 'zod';

import { SIGNS } from '../../rollout/drift.ts';
import { instantText } from './common.ts';

export const versionHealth = z
  .strictObject({
    ok: z.boolean().describe('Whether nothing is off.'),
    off: z
      .array(z.enum(SIGNS))
      .describe('What is off, by the bounds of the settings `promotion`; NaN and zeros by any.'),
    measured_timestamp: instantText.describe('With each round of upkeep.'),
    measured_vectors: z
      .int()
      .describe('Of how many vectors: those of the entities stored last, a thousand or so.'),
    norm_mean: z.number().describe('Their mean length.'),
    norm_spread: z.number().describe('Standard deviation of the lengths, as a share of the mean.'),
    zero_vectors: z.int().describe('Of length 0.'),
    not_finite: z.int().describe('With a NaN or an infinity.'),
    duplicate_share: z.number().describe('Share of them that are equal to another one of them.'),
    centroid_shift: z
      .number()
      .nullable()
      .describe(
        'How far their mean direction is from the baseline’s, as a cosine distance; null while there is none.',
      ),
    baseline_timestamp: instantText
      .nullable()
      .describe(
        'When the baseline was measured: in the first round that found a thousand vectors, and again in the first one in which the version was current.',
      ),
    newest_event_timestamp: instantText
      .nullable()
      .describe('The newest event time among the revisions stored last, as it is now.'),
    newest_created_timestamp: instantText
      .nullable()
      .describe('When the last revision was stored, as it is now.'),
  })
  .meta({ id: 'VersionHealth', description: 'What the newest vectors of a version look like.' });
export type VersionHealth = z.output<typeof versionHealth>;
