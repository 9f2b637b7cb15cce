import { createHash, hash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { CATALOGUE_FOLDER, isVersionName, isViewName, type Lineage } from './catalogue.ts';
import { DATA_FILE } from './environment.ts';
import { syncPath } from './folders.ts';
import { FORMAT_FILE, FORMAT_VERSION_MAX } from './format.ts';

const MANIFEST_FILE = 'backup.json';
/** Hashed in one go: others wait meanwhile. */
export const READ_BYTES = 2 ** 19;

/** What a backup is: written last, so that a directory without it is no backup. */
export interface Manifest {
  format_version: number;
  /** The state of the store that the backup holds, whole. */
  snapshot: number;
  /** RFC 3339. */
  created_timestamp: string;
  lineage: Lineage;
  files: BackupFile[];
  versions: BackupVersion[];
}

export interface BackupFile {
  /** From the backup's directory, with `/`. */
  path: string;
  bytes: number;
  sha256: string;
}

export interface BackupVersion {
  feature_view: string;
  version: string;
  entities: number;
  revisions: number;
  vectors: number;
}

/** Whether the directory is a backup that was finished. */
export function isBackup(directory: string): boolean {
  return existsSync(join(directory, MANIFEST_FILE));
}

/** Makes the directory a backup; durable on return. */
export function writeManifest(directory: string, manifest: Manifest): void {
  const fresh = join(directory, `${MANIFEST_FILE}.new`);
  const text = JSON.stringify({ ...manifest, sha256: checksumOf(manifest) }, undefined, 2);
  writeFileSync(fresh, `${text}\n`, { flush: true });
  renameSync(fresh, join(directory, MANIFEST_FILE));
  syncPath(directory);
}

/** Throws BACKUP_INVALID for what is no whole backup, STORE_FORMAT for that of a later Tidemark. */
export function readManifest(directory: string): Manifest {
  if (!isBackup(directory)) {
    throw invalid(
      directory,
      `it has no ${MANIFEST_FILE}: it is none, or was broken off; take another`,
    );
  }
  let parsed: Partial<Manifest> & { sha256?: unknown };
  try {
    parsed = JSON.parse(readFileSync(join(directory, MANIFEST_FILE), 'utf8')) as typeof parsed;
  } catch (error) {
    throw invalid(directory, `its ${MANIFEST_FILE} cannot be read: ${String(error)}`);
  }
  const { sha256, ...manifest } = parsed;
  if (sha256 !== checksumOf(manifest) || !isManifest(manifest)) {
    throw invalid(directory, `its ${MANIFEST_FILE} is not as it was written`);
  }
  if (manifest.format_version > FORMAT_VERSION_MAX) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `the backup ${directory} has format version ${manifest.format_version}, this Tidemark reads ` +
        `up to ${FORMAT_VERSION_MAX}: use the one that took it, or a later one`,
    );
  }
  return manifest;
}

/** What a file of the backup is: read from its first byte to its last. */
export async function describeFile(
  directory: string,
  path: string,
  signal?: AbortSignal,
): Promise<BackupFile> {
  const file = join(directory, path);
  const sum = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) {
    signal?.throwIfAborted();
    sum.update(chunk as Buffer);
  }
  return { path, bytes: statSync(file).size, sha256: sum.digest('hex') };
}

/** Throws BACKUP_INVALID, with the file, for one that is not as it was written. */
export function requireSame(directory: string, expected: BackupFile, found: BackupFile): void {
  if (found.bytes !== expected.bytes) {
    throw invalid(
      directory,
      `${expected.path} has ${found.bytes} bytes, expected ${expected.bytes}`,
    );
  }
  if (found.sha256 !== expected.sha256) {
    throw invalid(directory, `${expected.path} does not have the SHA-256 it was written with`);
  }
}

export function invalid(directory: string, why: string): TidemarkError {
  return new TidemarkError('BACKUP_INVALID', `the backup ${directory} is not whole: ${why}`);
}

function checksumOf(manifest: Partial<Manifest>): string {
  return hash('sha256', JSON.stringify(manifest));
}

/** What has the right checksum was written by a Tidemark, and is still no leave to write anywhere. */
function isManifest(manifest: Partial<Manifest>): manifest is Manifest {
  const { files, snapshot } = manifest;
  return (
    Number.isSafeInteger(snapshot) &&
    Array.isArray(files) &&
    files.every(({ path }) => isBackupPath(path))
  );
}

function isBackupPath(path: string): boolean {
  if (path === FORMAT_FILE || path === `${CATALOGUE_FOLDER}/${DATA_FILE}`) return true;
  const [views, view = '', version = '', file, ...more] = path.split('/');
  return (
    views === 'views' &&
    isViewName(view) &&
    isVersionName(version) &&
    file === DATA_FILE &&
    more.length === 0
  );
}
