import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  realpathSync,
  statfsSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';

/** What long copies leave of a disk to those who write meanwhile: a share of it, up to so much. */
const RESERVE_SHARE = 0.02;
const RESERVE_BYTES_MAX = 2 ** 30;

/**
 * Makes the folder and those above it that are missing. A folder survives power loss when the one
 * that it stands in is on the disk, and so on up to the first that was there before.
 */
export function makeFolder(path: string): void {
  const folder = resolve(path);
  if (existsSync(folder)) return;
  const above = dirname(folder);
  makeFolder(above);
  // Not `recursive`: where nothing can be made, as in /proc, Node would try for ever.
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  syncPath(above);
}

/** Whether the path, which need not be there, leads into the folder, or is it; links are followed. */
export function isWithin(path: string, folder: string): boolean {
  const way = relative(realPath(folder), realPath(path));
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The path without links; of what is not there, as far as it is. */
function realPath(path: string): string {
  const whole = resolve(path);
  const above = dirname(whole);
  if (existsSync(whole) || above === whole) return realpathSync(whole);
  return join(realPath(above), basename(whole));
}

/** Brings a file's bytes, or a folder's entries, to the disk. */
export function syncPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Throws STORE_UNAVAILABLE when the disk of this folder has fewer bytes free than that. */
export function requireFree(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  throw new TidemarkError(
    'STORE_UNAVAILABLE',
    `nothing was stored: there is no space left on the disk (${Math.floor(free / 1_024)} KiB are ` +
      `free, ${Math.ceil(bytes / 1_024)} KiB may be needed); make room and try again`,
  );
}

/** Throws STORE_UNAVAILABLE when the disk of this folder has little more room than its writers need. */
export function requireReserve(folder: string): void {
  const { bavail, blocks, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const reserve = Math.min(blocks * bsize * RESERVE_SHARE, RESERVE_BYTES_MAX);
  if (free >= reserve) return;
  throw new TidemarkError(
    'STORE_UNAVAILABLE',
    // Who asked over the network need not know where in the system this is.
    `the disk of ${folder.split(sep).slice(-3).join('/')} is nearly full: ${mebibytes(free)} are free, and ${mebibytes(reserve)} ` +
      'are left to those who write; make room and try again',
  );
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
