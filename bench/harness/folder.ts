import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { atEnd } from './at-end.ts';

/** A folder in the one for temporary files, until the benchmark ends, however it ends. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
  atEnd(() => removeFolder(folder));
  return folder;
}

/** A folder for what a run makes: removed after it, and where the run fails, when its programs have ended. */
export async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = newFolder();
  await work(folder);
  removeFolder(folder);
}

export function removeFolder(folder: string): void {
  // A program that is being killed may still make a file in it.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
