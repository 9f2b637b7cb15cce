import { open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import { isSystemError, systemWords } from '../../ground/system-error.ts';
import { makeFolder, requireReserve } from '../../store/folders.ts';

/** How often it is asked whether the disk has room left. */
const LOOK_BYTES = 64 * 2 ** 20;

/**
 * Writes a spine that comes over the network to the disk; how many bytes it has. Durable when it
 * resolves; nothing is left of it when it rejects, with LIMIT_EXCEEDED, STORE_UNAVAILABLE or what
 * the network says.
 */
export async function spoolSpine(
  spine: AsyncIterable<Uint8Array>,
  path: string,
  bytesMax: number,
): Promise<number> {
  try {
    await using file = await open(path, 'wx');
    let bytes = 0;
    let looked = -LOOK_BYTES;
    for await (const chunk of spine) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) {
        throw new TidemarkError(
          'LIMIT_EXCEEDED',
          `the spine is larger than the setting exports.spine_bytes of ${bytesMax} bytes; cut it, or leave out columns`,
        );
      }
      if (bytes - looked >= LOOK_BYTES) {
        requireReserve(dirname(path));
        looked = bytes;
      }
      await file.writeFile(chunk);
    }
    await file.sync();
    return bytes;
  } catch (error) {
    await rm(path, { force: true });
    throw refusedByDisk(error);
  }
}

/** Spines that are only of use while somebody waits, in the folder of exports. */
const SPOOLED = '.spine';

/** Has a spine on the disk for as long as what `work` gives is read. `name`: nobody else's. */
export async function* withSpooled<T>(
  spine: AsyncIterable<Uint8Array>,
  at: { root: string; name: string; bytesMax: number },
  work: (path: string) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  makeFolder(at.root);
  const path = join(at.root, `${at.name}${SPOOLED}`);
  await spoolSpine(spine, path, at.bytesMax);
  try {
    yield* work(path);
  } finally {
    await rm(path, { force: true });
  }
}

/** Those of a process that had no time to. */
export async function removeSpooled(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (name.endsWith(SPOOLED)) await rm(join(root, name));
  }
}

const OF_DISK = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'EROFS']);

/** What the disk said, as an error for the caller; any other error as it is. */
export function refusedByDisk(error: unknown): unknown {
  if (!isSystemError(error) || !OF_DISK.has(error.code ?? '')) return error;
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `the disk refused the files of an export (${systemWords(error)}); make room and try again`,
    { cause: error },
  );
}
