import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';

/**
 * Two pages at the start of an LMDB file each describe one state of it, the newer of which is used:
 *
 * bytes  field (of a page, little-endian)
 * 0      page header
 * 24 u32 magic            32 u64 address     48 … database of free pages, 48 bytes: its root at 88
 * 28 u32 data version     40 u64 map size    96 … main database, 48 bytes: its root at 136
 */
export const PAGE_BYTES = 4_096;
const MAGIC = 0xbeefc0de;
const MAGIC_AT = 24;
const ROOTS_AT = [88, 136];
/** The root of an empty database. */
const NO_PAGE = 2n ** 64n - 1n;

/**
 * Throws STORE_CORRUPT for a file that ends before the trees that it holds begin, as one does whose
 * copy was broken off. lmdb would map it and find out by reading past its end, which ends the process.
 */
export function requireWhole(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const pages = Buffer.alloc(2 * PAGE_BYTES);
    const read = readSync(descriptor, pages, 0, pages.byteLength, 0);
    const states = [pages.subarray(0, PAGE_BYTES), pages.subarray(PAGE_BYTES)];
    // After a power loss the newer state may lack its pages; the other one is then used.
    if (read < pages.byteLength || !states.some((state) => isWithin(state, size))) {
      throw new TidemarkError(
        'STORE_CORRUPT',
        `${file} has ${size} bytes and is cut short, or is no file of Tidemark's; restore a backup`,
      );
    }
  } finally {
    closeSync(descriptor);
  }
}

function isWithin(state: Buffer, size: number): boolean {
  if (state.readUInt32LE(MAGIC_AT) !== MAGIC) return false;
  const roots = ROOTS_AT.map((at) => state.readBigUInt64LE(at)).filter((root) => root !== NO_PAGE);
  return roots.every((root) => (root + 1n) * BigInt(PAGE_BYTES) <= BigInt(size));
}
