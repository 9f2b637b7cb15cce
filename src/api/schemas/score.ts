import { z } from 'zod';

import { METRICS } from '../../timetravel/score.ts';
import {
  entityIdMeta,
  instantText,
  maxAge,
  questionEcho,
  questionFields,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';
import { reason, status } from './lookup.ts';

const entityQuery = z.strictObject({
  feature_view: viewRef.describe(
    'Its own feature view: another one than that of the others, or not.',
  ),
  version: versionRef.optional(),
  entity_id: z.unknown().meta(entityIdMeta),
});

const vectorQuery = z.strictObject({
  vector: z.unknown().meta({
    anyOf: [
      { type: 'array', items: { type: 'number' } },
      { type: 'string', contentEncoding: 'base64' },
    ],
    description:
      'The version’s `dim` numbers, each rounded once to its dtype; or the bytes of them, little-endian in its dtype, as base64 or MessagePack binary. For a version of int8 they are float32, unless a scale says that they are int8.',
  }),
  scale: z
    .unknown()
    .meta({ type: 'number', description: 'Of a vector of int8: what its numbers are times.' })
    .optional(),
});

export const scoreBody = z
  .strictObject({
    query: z
      .union([entityQuery, vectorQuery], {
        error: 'expected an entity (feature_view, entity_id, and version if need be) or a vector',
      })
      .describe(
        'What the others are compared with: an entity’s vector as of the same moment, or one that is sent.',
      ),
    feature_view: viewRef,
    version: versionRef.optional(),
    entity_ids: z.array(z.unknown()).meta({
      items: entityIdMeta,
      description: 'One row of the answer each, in order, repeated ones too.',
    }),
    metric: z
      .enum(METRICS)
      .default('dot')
      .describe('The inner product, or the cosine of the angle: 0 with a vector of zeros.'),
    ...questionFields,
  })
  .meta({
    id: 'ScoreRequest',
    examples: [
      {
        query: { feature_view: 'member', entity_id: '7' },
        feature_view: 'job',
        entity_ids: [1, 2, 3],
        metric: 'cosine',
      },
    ],
  });
export type ScoreBody = z.output<typeof scoreBody>;

export const scoreAnswer = z
  .strictObject({
    snapshot,
    question: questionEcho,
    metric: z.enum(METRICS),
    query: z
      .strictObject({
        feature_view: z.string(),
        version: z.string(),
        max_age: maxAge,
        status,
        reason,
        event_timestamp: instantText.nullable(),
      })
      .nullable()
      .describe('The entity that was asked for; null for a vector that was sent.'),
    feature_view: z.string(),
    version: z.string(),
    max_age: maxAge,
    statuses: z.array(status),
    reasons: z.array(reason),
    event_timestamps: z.array(instantText.nullable()),
    scores: z
      .array(z.number().nullable())
      .describe(
        'float32, summed in float64; null where the row, or the query, is not PRESENT, or the score is beyond float32.',
      ),
  })
  .meta({ id: 'ScoreAnswer', description: 'Columns with one row an entity id, in order.' });
export type ScoreAnswer = z.output<typeof scoreAnswer>;

export const safetensorsScores = z.unknown().meta({
  type: 'string',
  format: 'binary',
  description:
    'A safetensors file: `score` [rows] F32, NaN where the row or the query is not PRESENT, infinite where it is beyond float32; `status` and `reason` [rows] U8, indexes into `statuses` and `reasons`; `event_timestamp` [rows] I64, µs since the epoch, −2^63 where there is none. ' +
    'In `__metadata__`: `snapshot`, and as JSON `question`, `result` (what the JSON answer has beside its columns), `statuses` and `reasons`.',
});
