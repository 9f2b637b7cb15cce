import { z } from 'zod';

import { RULES, VERDICTS } from '../../timetravel/explain.ts';
import {
  entityIdMeta,
  maxAge,
  questionEcho,
  questionFields,
  snapshot,
  versionRef,
  viewRef,
} from './common.ts';
import { reason, status } from './lookup.ts';
import { revision } from './timeline.ts';

export const explainBody = z
  .strictObject({
    feature_view: viewRef,
    version: versionRef.optional(),
    entity_id: z.unknown().meta(entityIdMeta),
    limit: z.int().min(1).optional().describe('Revisions to show at most, 100 by default.'),
    ...questionFields,
  })
  .meta({
    id: 'ExplainRequest',
    examples: [{ feature_view: 'job', entity_id: '7', as_of: '2026-03-01T12:00:00Z' }],
  });
export type ExplainBody = z.output<typeof explainBody>;

const rule = z.enum(RULES);

const judgedRevision = revision
  .omit({ vector: true })
  .extend({
    verdict: z.enum(VERDICTS).describe('One is `kept` at most: the winner.'),
    rule: rule.describe('The rule that decided about it.'),
    why: z.string().describe('What was compared with what.'),
  })
  .meta({ id: 'JudgedRevision' });

export const explainAnswer = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    entity_id: z.string(),
    snapshot,
    question: questionEcho,
    max_age: maxAge,
    status,
    reason,
    rule: rule
      .nullable()
      .describe('The rule that decided the answer; null where there is no revision.'),
    why: z.string().describe('What became of the question, with the numbers compared.'),
    winner: z
      .int()
      .nullable()
      .describe('The seq of the revision in force, a tombstone too; null where there is none.'),
    revisions: z
      .array(judgedRevision)
      .describe(
        'Newest first in A2 order: by event time, then known time, then seq. Where they are more than the limit, those around the winner, or around the bound on the event time.',
      ),
    cut: z
      .strictObject({
        newer: z.boolean().describe('There are more before the first.'),
        older: z.boolean().describe('There are more after the last.'),
      })
      .describe('Whether the list is cut.'),
  })
  .meta({ id: 'ExplainAnswer' });
export type ExplainAnswer = z.output<typeof explainAnswer>;
