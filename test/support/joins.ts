import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { tableToIPC, Table, Utf8, Vector, vectorFromArray } from 'apache-arrow';
import { onTestFinished } from 'vitest';

import { timestampColumn } from '../../src/timetravel/join/columns.ts';
import { JoinPool } from '../../src/timetravel/join/pool.ts';
import { runJoin } from '../../src/timetravel/join/run.ts';
import type { WindowDone } from '../../src/timetravel/join/window-done.ts';
import type { FileTarget } from '../../src/timetravel/join/windows.ts';
import { readSpineStream, type SpineSource } from '../../src/timetravel/spine/source.ts';
import { tempDirectory } from './temp.ts';

/** Threads of joins, ended when the test is done. */
export function testPool(threads = 2): JoinPool {
  const pool = new JoinPool(threads);
  onTestFinished(async () => pool.close());
  return pool;
}

export interface SpineRow {
  id: string | null;
  /** µs; null for none. */
  moment: number | null;
}

/** A spine in Arrow with the columns `job_id` and `event_timestamp`. */
export function arrowSpine(rows: readonly SpineRow[], idColumn = 'job_id'): Uint8Array {
  const moments = Float64Array.from(rows, ({ moment }) => moment ?? Number.NaN);
  const { data } = timestampColumn('event_timestamp', moments);
  const ids = rows.map(({ id }) => id);
  const table = new Table({
    [idColumn]: vectorFromArray(ids, new Utf8()),
    event_timestamp: new Vector([data]),
  });
  return tableToIPC(table, 'stream');
}

/** The spine cut into pieces of so many rows. */
export function sourceOf(
  bytes: Uint8Array | string,
  rowsMax: number,
  format: 'arrow' | 'ndjson' | 'csv' = 'arrow',
): SpineSource {
  async function* chunks() {
    yield Buffer.from(bytes);
  }
  const limits = { rowsMax, bytesMax: 2 ** 24, lineBytesMax: 2 ** 16 };
  return readSpineStream(chunks(), format, limits);
}

/** Files of a join in a new folder. */
export function targetIn(folder = tempDirectory()): FileTarget & { folder: string } {
  mkdirSync(folder, { recursive: true });
  const name = (what: string, index: number) => join(folder, `${what}-${index}`);
  return {
    folder,
    part: (index) => name('part', index),
    shard: (ref, index) => name(`vectors-${ref}`, index),
    shardFormat: 'arrow',
  };
}

/** What a join wrote: the checksum of each file by its name. */
export function checksumsIn(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder)
      .toSorted()
      .map((name) => [
        basename(name),
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      ]),
  );
}

type Join = Parameters<typeof runJoin>[0];

/** Runs a join to its end. */
export async function windowsOf(asked: Omit<Join, 'signal'>): Promise<WindowDone[]> {
  return Array.fromAsync(runJoin({ signal: new AbortController().signal, ...asked }));
}
