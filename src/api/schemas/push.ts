import { z } from 'zod';

import {
  entityIdMeta,
  instant,
  queryBoolean,
  rejection,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';

const TIME_TEXT =
  'RFC 3339 with an offset, exact to the microsecond; in MessagePack also whole microseconds since the epoch.';

/** Checks of what is in them stand in the reader of records, which is one loop over all of them. */
function readLater(meta: Record<string, unknown>): z.ZodUnknown {
  return z.unknown().meta(meta);
}

export const pushRecord = z
  .strictObject({
    entity_id: readLater(entityIdMeta),
    event_timestamp: readLater({
      type: 'string',
      format: 'date-time',
      description: `When it became true. ${TIME_TEXT}`,
    }),
    known_timestamp: readLater({
      type: 'string',
      format: 'date-time',
      description: `When it reached the platform; by default as \`known\` says. ${TIME_TEXT}`,
    }).optional(),
    vector: readLater({
      anyOf: [
        { type: 'array', items: { type: 'number' } },
        { type: 'string', contentEncoding: 'base64' },
        { type: 'null' },
      ],
      description:
        'The version’s `dim` numbers, each rounded once to its dtype; or the bytes of them, little-endian in its dtype, as base64 or MessagePack binary. Null deletes. Of int8 they are whole, from -128 to 127: whoever sends them has quantised them.',
    }).optional(),
    scale: readLater({
      type: 'number',
      exclusiveMinimum: 0,
      description:
        'Of a vector of int8: each of its numbers stands for itself times the scale, which is rounded once to float32.',
    }).optional(),
    deleted: z.literal(true).optional().describe('A delete as of the event time (A7).'),
    text: z.string().optional().describe('Embedded by the models of the view’s versions.'),
    fields: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('Made into a text by the prompts of the view’s versions, then embedded.'),
    part: z
      .string()
      .max(64)
      .optional()
      .describe(
        'Which part of the entity `fields` are of, or `deleted` is about, where the prompt has parts; a delete without one is of the whole entity.',
      ),
  })
  .meta({
    id: 'PushRecord',
    description: 'Exactly one of `vector`, `deleted`, `text` and `fields`.',
    examples: [{ entity_id: '42', event_timestamp: '2026-03-01T12:00:00Z', vector: [0.25, -0.5] }],
  });
export type PushRecord = z.output<typeof pushRecord>;

const KNOWN_TEXT =
  'When records without a `known_timestamp` were known: on `arrival`, by default, or at their `event` time.';
const ATOMIC_TEXT = 'Store nothing when a record is rejected (422 with the rejected ones).';
const RESULTS_TEXT = 'Also answer what became of each record.';
const VERSION_TEXT =
  'The model version that vectors are of, needed when the view has several; texts then go to it alone, and so do deletes, which otherwise go to all.';

const known = z.enum(['arrival', 'event']);

export const pushBody = z
  .strictObject({
    feature_view: viewRef.optional().describe('Needed here or in the query.'),
    version: versionRef.optional().describe(VERSION_TEXT),
    known: known.optional().describe(KNOWN_TEXT),
    atomic: z.boolean().optional().describe(ATOMIC_TEXT),
    results: z.boolean().optional().describe(RESULTS_TEXT),
    // Each record is taken or rejected by itself, so the envelope does not look into them.
    records: z.array(z.unknown()).meta({
      items: { $ref: '#/components/schemas/PushRecordInput' },
      description: 'In source order, which decides between equal times. 10,000 unless configured.',
    }),
  })
  .meta({ id: 'Push' });
export type PushBody = z.output<typeof pushBody>;

export const pushLines = z.unknown().meta({
  type: 'string',
  description: 'One record a line, as JSON. A line that is none is a rejected record.',
  examples: [
    '{"entity_id": "42", "event_timestamp": "2026-03-01T12:00:00Z", "vector": [0.25, -0.5]}\\n',
  ],
});

export const pushQuery = z.strictObject({
  feature_view: viewRef.optional().describe('For bodies that do not say it, such as NDJSON.'),
  version: versionRef.optional().describe(VERSION_TEXT),
  known: known.optional().describe(KNOWN_TEXT),
  atomic: queryBoolean.optional().describe(ATOMIC_TEXT),
  results: queryBoolean.optional().describe(RESULTS_TEXT),
});

const outcomes = z
  .strictObject({
    latest: z.int().describe('Now the newest of their entities.'),
    history: z.int().describe('Older than the newest.'),
    duplicate: z.int().describe('Stored already, known no later; nothing was written (A4).'),
  })
  .meta({ id: 'Outcomes' });
export type Outcomes = z.output<typeof outcomes>;

const versions = z.record(z.string(), outcomes).describe('Counts, by model version written to.');

export const pushAnswer = z
  .strictObject({
    feature_view: z.string(),
    snapshot: snapshot.describe('Everything pushed is durable, and in every answer from here on.'),
    versions,
    results: z
      .array(z.record(z.string(), z.enum(['latest', 'history', 'duplicate'])).nullable())
      .optional()
      .describe('One a record, in order: its outcome by model version, null where it is rejected.'),
    rejected: z.array(rejection).describe('By index.'),
  })
  .meta({ id: 'PushAnswer' });
export type PushAnswer = z.output<typeof pushAnswer>;

export const deleteQuery = z.strictObject({
  event_timestamp: instant.optional().describe('When the entity ceased; now by default.'),
  version: versionRef.optional().describe('Only in this model version; in all by default.'),
});

export const deleteAnswer = z
  .strictObject({ feature_view: z.string(), entity_id: z.string(), snapshot, versions })
  .meta({ id: 'DeleteAnswer' });
