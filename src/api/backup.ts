import { isAbsolute } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { isWithin } from '../store/folders.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { backupAnswer, type BackupAnswer, backupBody } from './schemas/backup.ts';
import { answer, problems } from './schemas/common.ts';

export async function backupRoutes(
  server: ApiServer,
  { store, backupDirectories }: Context,
): Promise<void> {
  // A server that stops does not wait for hours of copying.
  const stopping = new AbortController();
  server.addHook('preClose', async () => {
    stopping.abort(new TidemarkError('SHUTTING_DOWN', 'the server is stopping: ask for it again'));
  });

  server.post(
    '/v1/backup',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['operations'],
        summary: 'Back the store up',
        description:
          'Copies all feature views, as they are at one snapshot, into a directory on the server’s disk, and verifies the copy; reads and writes go on meanwhile. Answers when it is done, which takes as long as reading and writing the data. `tidemark restore` makes a data directory of it. Models are not in it.',
        body: backupBody,
        response: {
          200: answer('The backup is whole, and on the disk.', backupAnswer),
          ...problems(
            'BAD_REQUEST',
            'BACKUP_REFUSED',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'STORE_CORRUPT',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async ({ body: { directory } }): Promise<BackupAnswer> => {
      requireAllowed(directory, backupDirectories);
      const started = performance.now();
      const { snapshot, created_timestamp, files, versions } = await store.backup(directory, {
        signal: stopping.signal,
      });
      return {
        directory,
        snapshot,
        created_timestamp,
        files: files.length,
        bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
        seconds: (performance.now() - started) / 1_000,
        versions,
      };
    },
  );
}

/**
 * Whoever can ask the server is not to write wherever the server may, nor learn where that is. In the
 * directory itself later backups would land in the first. Throws BACKUP_REFUSED.
 */
function requireAllowed(directory: string, allowed: readonly string[]): void {
  const isAllowed =
    isAbsolute(directory) &&
    allowed.some((folder) => isWithin(directory, folder) && !isWithin(folder, directory));
  if (isAllowed) return;
  const where = allowed.length === 0 ? 'which names none' : 'as the configuration has it';
  throw new TidemarkError(
    'BACKUP_REFUSED',
    `${excerpt(directory)} is not inside a directory of the setting backup.directories, ${where}; ` +
      'expected the whole path of a new folder in one that is named there',
  );
}
