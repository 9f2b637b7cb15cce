import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

/** Has a disk of its own in memory at the folder until the test is done; false for who may not mount one. */
export function mountDisk(folder: string, mebibytes: number): boolean {
  const options = ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tidemark', folder];
  try {
    execFileSync('mount', options, { stdio: 'ignore' });
  } catch {
    return false;
  }
  // Lazily: a process that was just killed may still have files of it.
  onTestFinished(() => void execFileSync('umount', ['--lazy', folder]));
  return true;
}

/** Fills the disk of the folder but for so many bytes; gives what makes room again. */
export function fillDisk(folder: string, left: number): () => void {
  const path = join(folder, 'filler');
  const { bavail, bsize } = statfsSync(folder);
  const filler = openSync(path, 'w');
  writeSync(filler, Buffer.alloc(bavail * bsize - left));
  closeSync(filler);
  return () => rmSync(path);
}
