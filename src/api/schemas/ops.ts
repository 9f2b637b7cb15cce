import { z } from 'zod';

export const liveAnswer = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Live' });

export const readyAnswer = z
  .strictObject({
    ready: z.boolean(),
    checks: z
      .record(z.string(), z.looseObject({ ok: z.boolean(), message: z.string().optional() }))
      .describe('By name: what was checked and, where it is not ok, what to do.'),
  })
  .meta({ id: 'Readiness' });
