import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import { isWithin } from '../store/folders.ts';
import { SPINE_EXTENSIONS, spineFormatOf } from '../timetravel/spine/naming.ts';
import type { SpineFormat } from '../timetravel/spine/window.ts';

/**
 * A spine on the server's own disk. Whoever can ask the server is not to read whatever it may: links
 * are followed before it is looked where the file is. Throws BAD_REQUEST.
 */
export function spineFile(
  path: string,
  format: SpineFormat | undefined,
  allowed: readonly string[],
): { path: string; bytes: number; modified: number; format: SpineFormat } {
  if (!isAbsolute(path) || !allowed.some((folder) => isWithin(path, folder))) {
    const where = allowed.length === 0 ? 'which names none' : `which are ${allowed.join(', ')}`;
    throw new TidemarkError(
      'BAD_REQUEST',
      `the spine ${excerpt(path)} is not, where its links lead, inside a directory of the setting ` +
        `exports.spine_directories, ${where}; expected the whole path of a file in one that is named there`,
    );
  }
  const known = format ?? spineFormatOf(path);
  if (known === undefined) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `the spine ${excerpt(path)} ends with none of ${SPINE_EXTENSIONS.join(', ')}; say its format`,
    );
  }
  try {
    const real = realpathSync(path);
    const found = statSync(real);
    if (!found.isFile()) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `the spine ${excerpt(path)} is no file, expected one with its rows`,
      );
    }
    accessSync(real, constants.R_OK);
    return { path: real, bytes: found.size, modified: found.mtimeMs, format: known };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new TidemarkError(
      'BAD_REQUEST',
      `the spine ${excerpt(path)} cannot be read (${systemWords(error)})`,
      { cause: error },
    );
  }
}
