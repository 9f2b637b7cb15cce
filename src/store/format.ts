import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { makeFolder, syncPath } from './folders.ts';

/** The version of the layout on disk; raised when older software could no longer read it. */
const FORMAT_VERSION = 1;

const FILE = 'tidemark.json';
/** What a crash leaves of a claim, beside what a new disk has of its own. */
const NEW_FILE = 'tidemark.json.new';
const NOBODYS = new Set([NEW_FILE, 'lost+found']);

/** Throws STORE_FORMAT where there is no data directory of this format; changes nothing. */
export function checkDirectory(directory: string): void {
  if (!existsSync(join(directory, FILE))) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${directory} is not a Tidemark data directory: it has no ${FILE}`,
    );
  }
  claimDirectory(directory);
}

/**
 * Makes sure that `directory` is ours: a new or empty one is marked, one of this format is let
 * pass. Throws STORE_FORMAT, with what to do, for anything else.
 */
export function claimDirectory(directory: string): void {
  makeFolder(directory);
  const path = join(directory, FILE);
  if (!existsSync(path)) {
    const others = readdirSync(directory).filter((name) => !NOBODYS.has(name));
    if (others.length > 0) {
      throw new TidemarkError(
        'STORE_FORMAT',
        `${directory} is not empty and not a Tidemark data directory (it has no ${FILE}); ` +
          'name an empty or a new one',
      );
    }
    // Whole or not there: half a file would make the directory nobody's.
    const fresh = join(directory, NEW_FILE);
    writeFileSync(fresh, `${JSON.stringify({ format_version: FORMAT_VERSION })}\n`, {
      flush: true,
    });
    renameSync(fresh, path);
    syncPath(directory);
    return;
  }
  const found = readFormat(path);
  if (found !== FORMAT_VERSION) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${directory} has format version ${found}, this Tidemark reads ${FORMAT_VERSION}; ` +
        (typeof found === 'number' && found > FORMAT_VERSION
          ? 'it was written by a newer Tidemark: use that one or a later one'
          : 'open it with the Tidemark that wrote it, or restore a backup made with this one'),
    );
  }
}

function readFormat(path: string): number | string {
  const text = readFileSync(path, 'utf8');
  try {
    const { format_version } = JSON.parse(text) as { format_version?: unknown };
    return typeof format_version === 'number' ? format_version : 'unknown';
  } catch {
    return 'unreadable';
  }
}
