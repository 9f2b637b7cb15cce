import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { tryLock } from 'fs-native-extensions';

import { TidemarkError } from '../ground/errors.ts';

export const LOCK_FILE = 'writer.lock';
/** What the system says where nothing can be written. */
const NOT_WRITABLE = new Set(['EROFS', 'EACCES', 'EPERM']);

/**
 * Makes this process the one writer of a data directory, until `release` or its end, however it
 * ends: the lock is the kernel's, on an open file, so a kill -9 frees it.
 * Throws STORE_LOCKED when another process holds it.
 */
export function lockDirectory(directory: string): { release(): void } {
  const path = join(directory, LOCK_FILE);
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

/** A look at a data directory. */
export interface ReadLock {
  /** Somebody has it open for writing. */
  isWritten: boolean;
  /** Nobody else will, until it is released. */
  isHeld: boolean;
  release(): void;
}

/** Keeps writers away from a data directory while it is read, where that is possible. */
export function lockToRead(directory: string): ReadLock {
  try {
    const lock = lockDirectory(directory);
    return { isWritten: false, isHeld: true, release: () => lock.release() };
  } catch (error) {
    const isWritten = error instanceof TidemarkError && error.code === 'STORE_LOCKED';
    if (isWritten) return { isWritten, isHeld: false, release: () => {} };
    if (!NOT_WRITABLE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return { isWritten: hasWriter(directory), isHeld: false, release: () => {} };
  }
}

/** The same question where nothing can be written, as on a read-only disk. */
function hasWriter(directory: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(join(directory, LOCK_FILE), 'r');
  } catch (error) {
    // Whoever writes has made the file.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  try {
    return !tryLock(descriptor, { shared: true });
  } finally {
    closeSync(descriptor);
  }
}
