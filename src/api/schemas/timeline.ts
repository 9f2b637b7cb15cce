import { z } from 'zod';

import {
  atSnapshotField,
  entityIdMeta,
  instant,
  instantText,
  queryBoolean,
  queryInteger,
  questionQuery,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';

const FROM_TEXT = 'Least event time, inclusive.';
const TO_TEXT = 'Greatest event time, inclusive.';
const LIMIT_TEXT =
  'Revisions a page at most, 100 by default. A page with vectors may have fewer; `next` says whether there are more.';
const CURSOR_TEXT =
  'The `next` of the page before: it goes on at that page’s snapshot and version.';
const VECTORS_TEXT = 'Show the vectors too.';

export const timelineBody = z
  .strictObject({
    feature_view: viewRef,
    version: versionRef.optional(),
    entity_id: z.unknown().meta(entityIdMeta),
    from: instant.optional().describe(FROM_TEXT),
    to: instant.optional().describe(TO_TEXT),
    limit: z.int().min(1).optional().describe(LIMIT_TEXT),
    cursor: z.string().optional().describe(CURSOR_TEXT),
    include_vectors: z.boolean().optional().describe(VECTORS_TEXT),
    at_snapshot: atSnapshotField,
  })
  .meta({ id: 'TimelineRequest' });
export type TimelineBody = z.output<typeof timelineBody>;

export const timelineQuery = z.strictObject({
  version: versionRef.optional(),
  from: instant.optional().describe(FROM_TEXT),
  to: instant.optional().describe(TO_TEXT),
  limit: queryInteger
    .refine((limit) => limit >= 1, 'expected a whole number from 1')
    .optional()
    .meta({ minimum: 1, description: LIMIT_TEXT }),
  cursor: z.string().optional().describe(CURSOR_TEXT),
  include_vectors: queryBoolean.optional().describe(VECTORS_TEXT),
  at_snapshot: questionQuery.at_snapshot,
});

export const revision = z
  .strictObject({
    event_timestamp: instantText.describe('When it became true.'),
    known_timestamp: instantText.describe('When it reached the platform.'),
    created_timestamp: instantText.describe('When it was stored.'),
    seq: z.int().describe('Its number in the store.'),
    deleted: z.boolean().describe('Whether it is a tombstone.'),
    vector_id: z.int().nullable().describe('Equal vectors may share one; null for a tombstone.'),
    vector: z.array(z.number()).nullable().optional(),
    scale: z.number().optional().describe('Of a vector of int8: what its numbers are times.'),
  })
  .meta({ id: 'Revision' });

export const timelineAnswer = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    entity_id: z.string(),
    snapshot,
    reason: z
      .literal('ERASED')
      .nullable()
      .describe('Why there is nothing to show: the entity was erased (A8). Null otherwise.'),
    revisions: z
      .array(revision)
      .describe('Newest first in A2 order: by event time, then known time, then seq.'),
    next: z.string().nullable().describe('The cursor of the next page; null on the last.'),
  })
  .meta({ id: 'TimelineAnswer' });
export type TimelineAnswer = z.output<typeof timelineAnswer>;
