import { z } from 'zod';

import { instant, questionFields, versionRef, viewRef } from './common.ts';

const { boundary, knowledge, known_at, max_age, at_snapshot, min_snapshot } = questionFields;

export const diffBody = z
  .strictObject({
    feature_view: viewRef,
    version: versionRef.optional(),
    from: instant.describe('The moment to compare from: an `as_of`.'),
    to: instant.describe('The moment to compare to: another, not before it.'),
    boundary,
    knowledge,
    known_at,
    max_age,
    at_snapshot,
    min_snapshot,
    min_distance: z
      .number()
      .min(0)
      .max(2)
      .default(0)
      .describe(
        'Leaves out, and only counts, vectors that moved less: 1 − `cosine_similarity` below this. 0 by default.',
      ),
  })
  .meta({
    id: 'DiffRequest',
    examples: [{ feature_view: 'job', from: '2026-02-01T00:00:00Z', to: '2026-03-01T00:00:00Z' }],
  });
export type DiffBody = z.output<typeof diffBody>;

export const diffLines = z.unknown().meta({
  type: 'string',
  description:
    'One line an entity whose vector differs, in the order of the ids’ bytes: `{"entity_id", "change", "cosine_similarity", "from", "to"}`. ' +
    '`change` is `added` (a vector at `to` alone), `removed` (at `from` alone) or `changed`; `cosine_similarity` is null unless `changed`, and where a vector is all zeros; ' +
    '`from` and `to` are `{status, reason, event_timestamp}` as a lookup has them. ' +
    'The last line is `{"__summary": {entities, added, removed, changed, below_min_distance, unchanged, …}}` with the snapshot and the question, where `entities` counts those with a vector at one of the moments at least; an answer without it is not whole: ' +
    'then its last line is `{"__error": …}`, a problem, and the connection is cut.',
});
