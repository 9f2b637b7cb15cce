import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import { isWithin } from '../store/folders.ts';

/** Where files may lie that somebody names. */
export interface FilesAllowed {
  /** What such a file is called: `spine`. */
  what: string;
  /** The setting that names the directories. */
  setting: string;
  directories: readonly string[];
}

export interface ServerFile {
  path: string;
  bytes: number;
  /** When it was last written, ms. */
  modified: number;
}

/**
 * A file on the server's own disk. Whoever can ask the server is not to read whatever it may: links
 * are followed before it is looked where the file is. Throws BAD_REQUEST.
 */
export function serverFile(path: string, { what, setting, directories }: FilesAllowed): ServerFile {
  if (!isAbsolute(path) || !directories.some((folder) => isWithin(path, folder))) {
    const where =
      directories.length === 0 ? 'which names none' : `which are ${directories.join(', ')}`;
    throw new TidemarkError(
      'BAD_REQUEST',
      `the ${what} ${excerpt(path)} is not, where its links lead, inside a directory of the setting ` +
        `${setting}, ${where}; expected the whole path of a file in one that is named there`,
    );
  }
  try {
    const real = realpathSync(path);
    const found = statSync(real);
    if (!found.isFile()) {
      throw new TidemarkError(
        'BAD_REQUEST',
        `the ${what} ${excerpt(path)} is no file, expected one with its rows`,
      );
    }
    accessSync(real, constants.R_OK);
    return { path: real, bytes: found.size, modified: found.mtimeMs };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new TidemarkError(
      'BAD_REQUEST',
      `the ${what} ${excerpt(path)} cannot be read (${systemWords(error)})`,
      { cause: error },
    );
  }
}
