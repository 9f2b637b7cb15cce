import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import type { FeatureView } from './catalogue.ts';
import { makeFolder, syncPath } from './folders.ts';
import { LOCK_FILE } from './lock.ts';
import { keepsInputs } from './texts.ts';

/** The version of the layout on disk; raised when older software could no longer read it. */
export const FORMAT_VERSION = 3;
/**
 * That of a store that has, or had, vectors of int8: software that does not know them would take them
 * for numbers of another dtype. It differs in nothing else.
 */
const INT8_FORMAT_VERSION = 4;
/**
 * That of a store that has, or had, a version that keeps its inputs: older software would leave the
 * texts of erased entities where they are (A8), and lose all others with a compaction.
 */
const KEPT_FORMAT_VERSION = 5;
/** The newest that can be read. */
export const FORMAT_VERSION_MAX = KEPT_FORMAT_VERSION;
/** The oldest that is brought up to it when it is opened. */
const UPGRADED_FROM = 1;

export const FORMAT_FILE = 'tidemark.json';
/** Where a restored store is put together. */
export const RESTORING_FOLDER = 'restoring';
/** What a crash leaves of a claim or a restore, beside what a new disk has of its own. */
const NEW_FILE = 'tidemark.json.new';
const NOBODYS = new Set([NEW_FILE, LOCK_FILE, RESTORING_FOLDER, 'lost+found']);

/** Whether an entry of a directory that holds no data is of no matter. */
export function isNobodys(name: string): boolean {
  return NOBODYS.has(name);
}

/**
 * Throws STORE_FORMAT where there is no data directory of the format of today; changes nothing.
 */
export function checkDirectory(directory: string): void {
  if (!existsSync(join(directory, FORMAT_FILE))) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${directory} is not a Tidemark data directory: it has no ${FORMAT_FILE}`,
    );
  }
  const found = readFormat(directory);
  if (found >= FORMAT_VERSION) return;
  throw new TidemarkError(
    'STORE_FORMAT',
    `${directory} has format version ${found}; start the server on it once, which brings it to ` +
      `version ${FORMAT_VERSION}, and try again`,
  );
}

/**
 * Makes sure that `directory` is ours: a new or empty one is marked, one of a format that can be
 * opened is let pass. Gives its format version.
 * Throws STORE_FORMAT, with what to do, for anything else.
 */
export function claimDirectory(directory: string): number {
  makeFolder(directory);
  if (existsSync(join(directory, FORMAT_FILE))) return readFormat(directory);
  if (existsSync(join(directory, RESTORING_FOLDER))) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `a restore into ${directory} was broken off: restore it again, or remove ${RESTORING_FOLDER} in it`,
    );
  }
  const others = readdirSync(directory).filter((name) => !isNobodys(name));
  if (others.length > 0) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${directory} is not empty and not a Tidemark data directory (it has no ${FORMAT_FILE}); ` +
        'name an empty or a new one',
    );
  }
  writeFormat(directory);
  return FORMAT_VERSION;
}

/** The format of a store with these views. */
export function formatOf(views: readonly Pick<FeatureView, 'versions'>[]): number {
  if (hasKeptInputs(views)) return KEPT_FORMAT_VERSION;
  return hasInt8(views) ? INT8_FORMAT_VERSION : FORMAT_VERSION;
}

/** Whether a model version keeps the texts of its inputs, which older software does not know. */
export function hasKeptInputs(views: readonly Pick<FeatureView, 'versions'>[]): boolean {
  return views.some(({ versions }) => Object.values(versions).some(keepsInputs));
}

/** Whether a model version is of int8, which older software would take for another dtype. */
export function hasInt8(views: readonly Pick<FeatureView, 'versions'>[]): boolean {
  return views.some(({ versions }) =>
    Object.values(versions).some(({ dtype }) => dtype === 'int8'),
  );
}

/** Says that the directory is of at least this format; durable on return. */
export function raiseFormat(directory: string, format: number): void {
  if (readFormat(directory) < format) writeFormat(directory, format);
}

/** Says which format the directory is of; durable on return. */
export function writeFormat(directory: string, format = FORMAT_VERSION): void {
  // Whole or not there: half a file would make the directory nobody's.
  const fresh = join(directory, NEW_FILE);
  const text = `${JSON.stringify({ format_version: format })}\n`;
  writeFileSync(fresh, text, { flush: true });
  renameSync(fresh, join(directory, FORMAT_FILE));
  syncPath(directory);
}

/** Throws STORE_FORMAT for one that this Tidemark does not know. */
function readFormat(directory: string): number {
  const text = readFileSync(join(directory, FORMAT_FILE), 'utf8');
  const found = parseFormat(text);
  const isKnown =
    typeof found === 'number' && found >= UPGRADED_FROM && found <= FORMAT_VERSION_MAX;
  if (isKnown) return found;
  throw new TidemarkError(
    'STORE_FORMAT',
    `${directory} has format version ${found}, this Tidemark reads ${UPGRADED_FROM} to ${FORMAT_VERSION_MAX}; ` +
      (typeof found === 'number' && found > FORMAT_VERSION_MAX
        ? 'it was written by a newer Tidemark: use that one or a later one'
        : 'open it with the Tidemark that wrote it, or restore a backup made with this one'),
  );
}

function parseFormat(text: string): number | string {
  try {
    const { format_version } = JSON.parse(text) as { format_version?: unknown };
    return Number.isInteger(format_version) ? (format_version as number) : 'unknown';
  } catch {
    return 'unreadable';
  }
}
