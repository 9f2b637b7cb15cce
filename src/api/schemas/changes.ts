import { z } from 'zod';

import { queryBoolean, queryInteger, viewRef } from './common.ts';

export const changesQuery = z.strictObject({
  feature_view: viewRef
    .optional()
    .describe('Only what is about this view; all views where it is left out.'),
  after: queryInteger
    .optional()
    .describe('The last seq that was seen: changes with greater ones follow. 0 by default.'),
  follow: queryBoolean
    .optional()
    .describe('Goes on with what comes, for ever; otherwise up to the snapshot of now.'),
  limit: queryInteger
    .refine((value) => value >= 1, 'expected a whole number from 1')
    .optional()
    .meta({ minimum: 1, description: 'Ends after so many changes.' }),
  vectors: queryBoolean.optional().describe('Also answer each revision’s vector.'),
});

/** What lines of changes hold; documented below, and typed where they are made. */
export type ChangeLine =
  | { type: 'watermark'; snapshot: number; time: string }
  | { type: string; seq: number; created_timestamp: string; [field: string]: unknown };

export const changeLinesText = z.unknown().meta({
  type: 'string',
  description:
    'One change a line, in the order of `seq`, each with `seq`, `type` and `created_timestamp`.\n\n' +
    '- `revision`: `feature_view`, `version`, `entity_id`, `event_timestamp`, `known_timestamp`, `deleted`, `vector_id` (null for a delete), `source` (`{source, topic, partition, offset}`, null for what came by REST) and, when asked for, `vector` (`dim` numbers, or null; of int8 with their `scale` beside).\n' +
    '- `view`, the view was made or changed: `feature_view`, `entity`, `join_key`, `max_age`, `retention`, `aliases`, `versions`.\n' +
    '- `promoted`, `rolled_back` and `version_retired`: the same, with `audit`: which version, and why.\n' +
    '- `horizon`, retention has come to `horizon`: `feature_view`.\n' +
    '- `view_dropped`: `feature_view`.\n' +
    '- `erased` and `erasure_lifted`: `entity`, `feature_view` (null for all of the entity type) and `hashes`, keyed hashes of the ids in hex. The ids themselves are nowhere.\n' +
    '- `watermark`, no change: all up to `snapshot` was told, at `time`. It comes when all that there is has been told, and every second in which nothing happens; an answer that does not follow ends with it, and one without it is not whole: then its last line is `{"__error": …}`, a problem, and the connection is cut.',
});

export const changeFramesText = z.unknown().meta({
  type: 'string',
  format: 'binary',
  description:
    'For read replicas and lakes: frames of MessagePack, each after its length as u32. A replica asks for all views; with `feature_view` the revisions are of that one, the other changes of all.',
});
