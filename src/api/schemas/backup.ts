import { z } from 'zod';

import { instantText } from './common.ts';

export const backupBody = z
  .strictObject({
    directory: z
      .string()
      .min(1)
      .max(4_096)
      .refine((path) => !path.includes('\0'), 'has a NUL, which no path may have')
      .describe(
        'An empty or a new directory on the server’s own disk, inside one of the setting `backup.directories`.',
      ),
  })
  .meta({ id: 'BackupRequest', examples: [{ directory: '/backups/2026-03-01' }] });

export const backupAnswer = z
  .strictObject({
    directory: z.string(),
    snapshot: z.int().describe('The state that the backup holds, whole.'),
    created_timestamp: instantText,
    files: z.int(),
    bytes: z.int(),
    seconds: z.number(),
    versions: z.array(
      z
        .strictObject({
          feature_view: z.string(),
          version: z.string(),
          entities: z.int(),
          revisions: z.int(),
          vectors: z.int(),
        })
        .meta({ id: 'BackupVersion' }),
    ),
  })
  .meta({ id: 'BackupAnswer' });
export type BackupAnswer = z.output<typeof backupAnswer>;
