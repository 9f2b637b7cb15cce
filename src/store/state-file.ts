import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { isSystemError } from '../ground/system-error.ts';

/** The text of the file; undefined where there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Puts a text in the place of the file's, all of it or nothing. With `flush` it is durable when this
 * resolves; without, a power loss may take it and leave the one before.
 */
export async function replaceFile(path: string, text: string, flush: boolean): Promise<void> {
  const fresh = `${path}.new`;
  await writeFile(fresh, text, { flush });
  await rename(fresh, path);
  if (!flush) return;
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
}
