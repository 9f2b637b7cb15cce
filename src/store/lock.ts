import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { tryLock } from 'fs-native-extensions';

import { TidemarkError } from '../ground/errors.ts';

/**
 * Makes this process the one writer of a data directory, until `release` or its end, however it
 * ends: the lock is the kernel's, on an open file, so a kill -9 frees it.
 * Throws STORE_LOCKED when another process holds it.
 */
export function lockDirectory(directory: string): { release(): void } {
  const path = join(directory, 'writer.lock');
  const descriptor = openSync(path, 'a+');
  if (!tryLock(descriptor)) {
    closeSync(descriptor);
    const holder = readFileSync(path, 'utf8').trim();
    throw new TidemarkError(
      'STORE_LOCKED',
      `the data directory ${directory} is open in another process (${holder || 'unknown'}); ` +
        'one process at a time writes to it: stop that one, or use another directory',
    );
  }
  ftruncateSync(descriptor);
  writeSync(descriptor, `pid ${process.pid}\n`);
  return { release: () => closeSync(descriptor) };
}
