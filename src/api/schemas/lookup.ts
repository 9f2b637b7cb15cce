import { z } from 'zod';

import { DTYPES } from '../../store/dtype.ts';
import { REASONS, STATUSES } from '../../timetravel/status.ts';
import {
  entityIdMeta,
  instantText,
  maxAge,
  pathEntityId,
  questionEcho,
  questionFields,
  questionQuery,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/;

const lookup = z
  .strictObject({
    feature_view: viewRef,
    version: versionRef.optional(),
    entity_ids: z.array(z.unknown()).meta({
      items: entityIdMeta,
      description: 'One row of the answer each, in order, repeated ones too.',
    }),
    name: z
      .string()
      .regex(NAME)
      .optional()
      .describe('What the result is called; the view’s name by default. Unique in the request.'),
  })
  .meta({ id: 'Lookup' });

const askedDtype = z
  .literal('float32')
  .optional()
  .describe(
    'The dtype of the answer, whatever that of a version is: numbers of float16 are the same ones, those of int8 times their scale are rounded once. As stored by default.',
  );

export const lookupBody = z
  .strictObject({
    lookups: z.array(lookup).min(1).describe('All of them are answered from one state.'),
    dtype: askedDtype,
    ...questionFields,
  })
  .meta({
    id: 'LookupRequest',
    examples: [
      {
        lookups: [
          { feature_view: 'member', entity_ids: ['7'] },
          { feature_view: 'job', entity_ids: [1, 2, 3] },
        ],
        as_of: '2026-03-01T12:00:00Z',
      },
    ],
  });
export type LookupBody = z.output<typeof lookupBody>;

export const status = z.enum(STATUSES).describe('Whether there is a vector.');
const [, ...reasonNames] = REASONS;
export const reason = z.enum(reasonNames).nullable().describe('Why there is none; else null.');

const pending = z
  .array(z.int().min(0))
  .optional()
  .describe(
    'PENDING: the rows, from 0, of whose entity a text was taken in that waits for its vector. A live hint, only of questions about the latest; absent where there are none.',
  );

const dtype = z.enum(DTYPES).describe('Of the vectors as they are answered.');
const scale = z
  .number()
  .describe('Of an int8 vector alone: each of its numbers stands for itself times the scale.');

const lookupResult = z
  .strictObject({
    name: z.string(),
    feature_view: z.string(),
    version: z.string(),
    dim: z.int(),
    dtype,
    max_age: maxAge,
    pending,
    statuses: z.array(status),
    reasons: z.array(reason),
    event_timestamps: z
      .array(instantText.nullable())
      .describe('Of the revision in force, a tombstone too; null where there is none.'),
    vectors: z
      .array(z.array(z.number()).nullable())
      .describe('Each of `dim` numbers, exactly as stored; null where the row is not PRESENT.'),
    scales: z.array(scale.nullable()).optional(),
  })
  .meta({ id: 'LookupResult', description: 'Columns with one row an entity id, in order.' });

export const lookupAnswer = z
  .strictObject({ snapshot, question: questionEcho, results: z.array(lookupResult) })
  .meta({ id: 'LookupAnswer' });
export type LookupAnswer = z.output<typeof lookupAnswer>;

export const packedLookupAnswer = z
  .strictObject({
    snapshot,
    question: questionEcho,
    results: z.array(
      z.strictObject({
        ...lookupResult.shape,
        event_timestamps: z
          .array(z.int().nullable())
          .describe('int64, µs since the epoch; of a tombstone too; null where there is none.'),
        vectors: z.unknown().meta({
          type: 'string',
          format: 'binary',
          description:
            'One binary: [rows, dim] numbers of `dtype`, row-major and little-endian; NaN, of int8 0, in the rows that are not PRESENT.',
        }),
        scales: z.unknown().optional().meta({
          type: 'string',
          format: 'binary',
          description: 'Of int8 alone, one binary: [rows] float32, 0 in the rows not PRESENT.',
        }),
      }),
    ),
  })
  .meta({ id: 'PackedLookupAnswer', description: 'MessagePack of the JSON answer, except:' });

export const safetensorsAnswer = z.unknown().meta({
  type: 'string',
  format: 'binary',
  description:
    'A safetensors file. For each result: `<name>.vector` [rows, dim] F32 or F16, NaN in the rows that are not PRESENT; or I8, 0 in those, and `<name>.scale` [rows] F32; ' +
    '`<name>.status` [rows] U8, an index into `statuses`; `<name>.reason` [rows] U8, an index into `reasons`; ' +
    '`<name>.event_timestamp` [rows] I64, µs since the epoch, −2^63 (numpy’s NaT) where there is none. ' +
    'In `__metadata__`: `snapshot`, and as JSON `question`, `results` (name, feature_view, version, dim, dtype and max_age of each, and `pending` as in JSON), `statuses` and `reasons`. ' +
    'Every tensor starts on a multiple of its number’s size.',
});

export const entityPath = z.strictObject({ view: viewRef, entity_id: pathEntityId });

export const entityQuery = z.strictObject({
  version: versionRef.optional(),
  dtype: askedDtype,
  ...questionQuery,
});

export const entityAnswer = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    entity_id: z.string(),
    snapshot,
    question: questionEcho,
    max_age: maxAge,
    status,
    reason,
    pending: z
      .boolean()
      .optional()
      .describe(
        'True where a text of the entity was taken in that waits for its vector: a live hint, only of questions about the latest.',
      ),
    event_timestamp: instantText.nullable(),
    known_timestamp: instantText.nullable(),
    created_timestamp: instantText.nullable().describe('When the revision was stored.'),
    seq: z.int().nullable().describe('The revision’s number in the store.'),
    dim: z.int(),
    dtype,
    vector: z.array(z.number()).nullable(),
    scale: scale.nullable().optional(),
  })
  .meta({
    id: 'EntityAnswer',
    description: 'The times and the seq are those of the revision in force, a tombstone too.',
  });
export type EntityAnswer = z.output<typeof entityAnswer>;
