import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { DATA_FILE } from '../../src/store/environment.ts';
import { PAGE_BYTES } from '../../src/store/meta-page.ts';

/** A disk writes so much at once, or nothing of it. */
const SECTOR_BYTES = 512;

/** Where LMDB's mark of the last flush is, and how long. */
const MARK = [PAGE_BYTES / 2, PAGE_BYTES / 2 + SECTOR_BYTES] as const;

/**
 * Leaves of every file of a killed process what a power loss may leave of it: all that was flushed,
 * as `flushed` has it, and of what was written since any part.
 */
export function losePower(
  directory: string,
  flushed: string,
  random: (below: number) => number,
): void {
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith(DATA_FILE)) continue;
    const path = join(directory, file);
    const kept = join(flushed, file);
    const written = readFileSync(path);
    // Never flushed: nobody has been told of it.
    const old = Buffer.alloc(written.byteLength);
    if (existsSync(kept)) readFileSync(kept).copy(old);
    // A mark is written when what it speaks of is on the disk: `flushed` is of before that.
    if (!written.subarray(...MARK).equals(old.subarray(...MARK))) continue;
    const luck = 1 + random(9);
    for (let at = 0; at < written.byteLength;) {
      // The first two pages are written in parts.
      const bytes = at < 2 * PAGE_BYTES ? SECTOR_BYTES : PAGE_BYTES;
      if (random(10) < luck) old.copy(written, at, at, at + bytes);
      at += bytes;
    }
    writeFileSync(path, written);
  }
}
