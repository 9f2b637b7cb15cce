import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

/** A new empty directory, removed when the test is done. */
export function tempDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
