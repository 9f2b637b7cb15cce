import { randomFillSync } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { askInFlight, type Load } from './load.ts';

/** Whoever stores durably is compared with it. */
export const DISK = 'the disk, synced writes';

/** Writes so many bytes to the end of a file and waits until the disk has them, again and again. */
export async function writeSynced(folder: string, bytes: number, seconds: number): Promise<Load> {
  const path = join(folder, 'synced');
  const written = randomFillSync(Buffer.alloc(bytes));
  const file = openSync(path, 'w');
  const load = await askInFlight(1, seconds, async () => {
    writeSync(file, written);
    fdatasyncSync(file);
  });
  closeSync(file);
  rmSync(path);
  return load;
}
