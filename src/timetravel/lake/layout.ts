import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

/**
 * A lake table of one model version:
 *
 *   revisions/event_day=2026-03-01/bucket=7/seq-<from>-<to>.parquet
 *   vectors/seq-<from>-<to>.parquet
 *   _tidemark/state.json      how far it goes; whatever has a greater `to` is no part of it yet
 *   _tidemark/writing/        files that have no name yet
 *
 * A file holds what was committed with a seq above `from` and up to `to`.
 */
export const REVISIONS = 'revisions';
export const VECTORS = 'vectors';
export const OWN = '_tidemark';
export const WRITING = join(OWN, 'writing');

/** A day has a file of each, and many small files are slow. */
export const BUCKETS_MAX = 4_096;

/** Fewer revisions than this need no second bucket: a day of them is not much, and its files are small. */
const BUCKET_REVISIONS = 10e6;
const BUCKETS_UNASKED_MAX = 16;

const DAY_MICROS = 86_400e6;
const SEQ_DIGITS = 16;
const NAME = /(?:^|\/)seq-\d{16}-(\d{16})\.parquet$/;

/** A file of the table. */
export interface LakeFile {
  /** From the table's folder on. */
  path: string;
  to: number;
}

/** How many buckets a new table has where nobody says. */
export function bucketsFor(revisions: number): number {
  return Math.min(BUCKETS_UNASKED_MAX, Math.max(1, Math.ceil(revisions / BUCKET_REVISIONS)));
}

/** CRC-32 (as of zlib) of the id's UTF-8, modulo the number of buckets. */
export function bucketOf(entityId: string, buckets: number): number {
  return crc32(entityId) % buckets;
}

/** Days since the epoch, UTC. */
export function dayOf(event: number): number {
  return Math.floor(event / DAY_MICROS);
}

export function partitionFolder(day: number, bucket: number): string {
  const date = new Date((day * DAY_MICROS) / 1_000).toISOString().slice(0, 10);
  // Without zeros before it: with them some readers take it for a text.
  return join(REVISIONS, `event_day=${date}`, `bucket=${bucket}`);
}

export function fileName(from: number, to: number): string {
  return `seq-${digitsOf(from)}-${digitsOf(to)}.parquet`;
}

/** The table's files in one of its folders, in no order; what others put there is passed by. */
export function listFiles(table: string, folder: typeof REVISIONS | typeof VECTORS): LakeFile[] {
  const files: LakeFile[] = [];
  const entries = readdirSync(join(table, folder), { recursive: true, encoding: 'utf8' });
  for (const entry of entries) {
    const [, to] = NAME.exec(entry) ?? [];
    if (to !== undefined) files.push({ path: join(folder, entry), to: Number(to) });
  }
  return files;
}

function digitsOf(value: number): string {
  return String(value).padStart(SEQ_DIGITS, '0');
}
