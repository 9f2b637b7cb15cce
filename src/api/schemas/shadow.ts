import { z } from 'zod';

import { instantText } from './common.ts';

const share = z.number().min(0).max(1);

export const shadowAnswer = z
  .strictObject({
    feature_view: z.string(),
    current: z.string(),
    candidate: z.string().nullable().describe('Null: there is none, and nothing to compare.'),
    sample: share.describe('Share of lookups that the candidate is asked too, as set.'),
    process: z
      .string()
      .nullable()
      .describe(
        'Which of several processes answers, each for the lookups that came to it; null where there is one.',
      ),
    since: instantText
      .nullable()
      .describe('From when on it was counted; anew where one of the two versions is another one.'),
    lookups: z.int().describe('Lookups that the candidate was asked too.'),
    dropped: z.int().describe('Sampled lookups that it could not be asked in time.'),
    ids: z.int().describe('Rows of these lookups.'),
    present: z.int().describe('Those of them with a vector of the current version.'),
    covered: z.int().describe('Those of these with a vector of the candidate.'),
    coverage: share.nullable().describe('Their share; null while there are none.'),
    cosine: z
      .strictObject({
        mean: z.number(),
        p5: z.number().describe('One of twenty is below it.'),
      })
      .nullable()
      .describe(
        'Of an entity’s vectors under both versions: near 1 where they lie in one space. Null where the dims differ, and while there are none.',
      ),
    neighbour_overlap: z
      .strictObject({
        lookups: z.int().describe('Of so many lookups, of 12 entities that both have or more.'),
        mean: share,
        by_chance: share.describe('What two versions would have that know nothing of each other.'),
      })
      .nullable()
      .describe(
        'Of the 10 entities of a lookup nearest to its first one, the share that both versions agree on, whatever space they lie in.',
      ),
  })
  .meta({ id: 'Shadow' });
export type ShadowAnswer = z.output<typeof shadowAnswer>;
