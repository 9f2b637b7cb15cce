import { z } from 'zod';

import { versionRef, viewRef } from './common.ts';

export const compactBody = z
  .strictObject({
    feature_view: viewRef.optional().describe('All views where it is left out.'),
    version: versionRef.optional().describe('All versions of the view where it is left out.'),
  })
  .meta({ id: 'CompactRequest', examples: [{ feature_view: 'job' }] });

export const compactAnswer = z
  .strictObject({
    compactions: z.array(
      z
        .strictObject({
          feature_view: z.string(),
          version: z.string(),
          bytes_before: z.int().describe('Of the file.'),
          bytes_after: z.int(),
          revisions_dropped: z.int().describe('Those that retention let go.'),
          vectors_dropped: z.int().describe('Those that nothing in force points to.'),
          seconds: z.number(),
        })
        .meta({ id: 'Compaction' }),
    ),
  })
  .meta({ id: 'CompactAnswer' });
export type CompactAnswer = z.output<typeof compactAnswer>;
