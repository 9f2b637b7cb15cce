import { z } from 'zod';

import { parseDuration } from '../../ground/duration.ts';
import { duration, gateResult, instantText } from './common.ts';
import { aliases } from './views.ts';

/** How long a version that was current is kept, where a promotion does not say. */
const KEPT = 'P1D';

const reason = z.string().max(1_024).optional().describe('Told in the history of the view.');

export const promoteBody = z
  .strictObject({
    force: z
      .boolean()
      .default(false)
      .describe('Promote it although a gate is not passed; the history says that it was forced.'),
    keep: duration
      .nullable()
      .default(parseDuration(KEPT))
      .describe(
        `How long the version that is current until now is kept for a rollback before it is retired by itself; ${KEPT} if not said, null for until somebody retires it.`,
      ),
    reason,
  })
  .meta({ id: 'Promotion' });

export const whyQuery = z.strictObject({ reason });
export const whyBody = whyQuery.meta({ id: 'Why' });

export const gatesAnswer = z
  .strictObject({
    feature_view: z.string(),
    version: z.string(),
    ok: z.boolean().describe('Whether it passes all of them.'),
    gates: z.array(gateResult),
  })
  .meta({ id: 'Gates' });
export type GatesAnswer = z.output<typeof gatesAnswer>;

export const promotionAnswer = z
  .strictObject({
    feature_view: z.string(),
    aliases,
    kept_until: instantText.nullable().describe('When the previous version is retired by itself.'),
    forced: z.boolean(),
    gates: z.array(gateResult).describe('Empty where it was the current version already.'),
    snapshot: z.int().describe('From there on the version answers where none is named.'),
  })
  .meta({ id: 'Promoted' });
export type PromotionAnswer = z.output<typeof promotionAnswer>;

export const aliasesAnswer = z
  .strictObject({ feature_view: z.string(), aliases, snapshot: z.int() })
  .meta({ id: 'AliasesOfView' });
export type AliasesAnswer = z.output<typeof aliasesAnswer>;

export const historyAnswer = z
  .strictObject({
    feature_view: z.string(),
    events: z
      .array(
        z.strictObject({
          seq: z.int(),
          created_timestamp: instantText,
          type: z.enum(['view', 'promoted', 'rolled_back', 'version_retired']),
          aliases: aliases.describe('From then on.'),
          version: z.string().nullable().describe('Which one it is about.'),
          forced: z.boolean(),
          reason: z.string().nullable(),
          gates: z.array(gateResult),
        }),
      )
      .describe('What became of the view, in order.'),
  })
  .meta({ id: 'ViewHistory' });
export type HistoryAnswer = z.output<typeof historyAnswer>;
