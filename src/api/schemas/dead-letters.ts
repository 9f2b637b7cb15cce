import { z } from 'zod';

import { instantText, queryInteger, viewRef } from './common.ts';

/** Letters of one request at most. */
const LETTERS_MAX = 10_000;
const LETTERS_DEFAULT = 100;
const REPLAY_DEFAULT = 1_000;

const filters = {
  feature_view: viewRef.optional().describe('All views where it is left out.'),
  version: z.string().optional().describe('All versions of the view where it is left out.'),
  source: z.string().optional().describe('Those that this source has read.'),
  topic: z.string().optional().describe('Those of this topic.'),
  code: z.string().optional().describe('Those with this reason, such as BAD_RECORD.'),
};

const cursor = z.string().optional().describe('The `next` of the page before.');
const next = z.string().nullable().describe('Asks for what comes after; null where nothing does.');

export const deadLettersQuery = z.strictObject({
  ...filters,
  limit: queryInteger
    .refine((value) => value >= 1 && value <= LETTERS_MAX, `expected 1 to ${LETTERS_MAX}`)
    .default(LETTERS_DEFAULT)
    .meta({ minimum: 1, maximum: LETTERS_MAX, description: 'Letters of a page at most.' }),
  cursor,
});

const position = z
  .strictObject({
    source: z.string(),
    topic: z.string(),
    partition: z.int().min(0),
    offset: z.int().min(0),
  })
  .meta({ id: 'RecordPosition', description: 'Where a record stood, and which source read it.' });

export const deadLettersBody = z
  .strictObject({
    ...filters,
    positions: z.array(position).min(1).max(LETTERS_MAX).optional().describe('These alone.'),
    limit: z
      .int()
      .min(1)
      .max(LETTERS_MAX)
      .default(REPLAY_DEFAULT)
      .describe('Ends after so many; `next` then says where to go on.'),
    cursor,
  })
  .meta({ id: 'DeadLettersRequest', examples: [{ feature_view: 'job', code: 'BAD_VECTOR' }] });

const bytes = z
  .strictObject({
    base64: z.string(),
    text: z.string().nullable().describe('The same, where it is UTF-8.'),
  })
  .meta({ id: 'Bytes', description: 'Bytes as they came.' });

const deadLetter = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    source: z.string(),
    topic: z.string(),
    partition: z.int(),
    offset: z.int(),
    timestamp: instantText.nullable().describe('The record’s own; null where it has none.'),
    code: z.string().describe('Stable; what scripts switch on.'),
    message: z.string().describe('What was expected.'),
    key: bytes.nullable(),
    value: bytes.nullable(),
    headers: z
      .record(z.string(), z.union([bytes.nullable(), z.array(bytes.nullable())]))
      .describe('A list where a name stands more than once.'),
  })
  .meta({ id: 'DeadLetter', description: 'A record that could not become a revision.' });
export type DeadLetterAnswer = z.output<typeof deadLetter>;

export const deadLettersAnswer = z
  .strictObject({ dead_letters: z.array(deadLetter), next })
  .meta({ id: 'DeadLetters' });
export type DeadLettersAnswer = z.output<typeof deadLettersAnswer>;

export const replayAnswer = z
  .strictObject({
    tried: z.int().describe('All of them; the others say what became of these.'),
    latest: z.int().describe('Committed, and the latest of their entity.'),
    history: z.int().describe('Committed, behind what is the latest.'),
    duplicate: z.int().describe('Equal to what is stored: removed.'),
    skipped: z.int().describe('The source passes such records by now: removed.'),
    erased: z.int().describe('Of erased entities (A8): removed, and nothing is stored.'),
    failed: z.int().describe('They failed again: they stay, with the reason of now.'),
    unconfigured: z
      .int()
      .describe('They stay: no source of that name reads that topic into that version any more.'),
    next,
  })
  .meta({ id: 'ReplayAnswer' });
export type ReplayAnswer = z.output<typeof replayAnswer>;

export const dropAnswer = z
  .strictObject({ dropped: z.int(), next })
  .meta({ id: 'DropDeadLettersAnswer' });
export type DropAnswer = z.output<typeof dropAnswer>;
