import { RecordBatch, type Vector } from 'apache-arrow';

import { readPiece } from '../../../src/timetravel/spine/read.ts';
import { readSpineStream, type SpineLimits } from '../../../src/timetravel/spine/source.ts';
import type { ReadOptions } from '../../../src/timetravel/spine/text.ts';
import type { SpinePiece, SpineWindow } from '../../../src/timetravel/spine/window.ts';

export const LIMITS: SpineLimits = { rowsMax: 1_000, bytesMax: 2 ** 20, lineBytesMax: 1_000 };

/** Bytes as a network may bring them: in chunks that know nothing of what they hold. */
export async function* inChunks(bytes: Uint8Array, size = 7): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

export async function piecesOf(
  spine: string | Uint8Array,
  format: 'ndjson' | 'csv' | 'arrow',
  limits: Partial<SpineLimits> = {},
  chunk = 7,
): Promise<SpinePiece[]> {
  const bytes = typeof spine === 'string' ? Buffer.from(spine) : spine;
  const source = readSpineStream(inChunks(bytes, chunk), format, { ...LIMITS, ...limits });
  return Array.fromAsync(source.pieces());
}

export async function windowsOf(
  pieces: readonly SpinePiece[],
  options: ReadOptions = {},
): Promise<SpineWindow[]> {
  // One at a time, as a thread reads them.
  return Array.fromAsync(pieces, (piece) => readPiece(piece, options));
}

/** The one window of a spine that is short. */
export async function windowOf(
  spine: string | Uint8Array,
  format: 'ndjson' | 'csv' | 'arrow',
  limits: Partial<SpineLimits> = {},
  options: ReadOptions = {},
): Promise<SpineWindow> {
  const [window, ...others] = await windowsOf(await piecesOf(spine, format, limits), options);
  if (others.length > 0) throw new Error(`expected one piece, got ${others.length + 1}`);
  return window!;
}

/** The rows of windows as plain objects, whole numbers as bigint where Arrow has them so. */
export function rowsOf(windows: readonly Pick<SpineWindow, 'batch'>[]): Record<string, unknown>[] {
  return windows.flatMap(({ batch }) =>
    Array.from({ length: batch.numRows }, (_, row) =>
      Object.fromEntries(
        batch.schema.names.map((name, at) => [name, plain(batch.getChildAt(at)!, row)]),
      ),
    ),
  );
}

function plain(column: Vector, row: number): unknown {
  const value: unknown = column.get(row);
  return typeof value === 'object' && value !== null
    ? (JSON.parse(JSON.stringify(value)) as unknown)
    : value;
}

export function typesOf({ batch }: Pick<SpineWindow, 'batch'>): Record<string, string> {
  return Object.fromEntries(batch.schema.fields.map(({ name, type }) => [name, String(type)]));
}

/** A window of columns of Arrow, as if it had been read. */
export function windowWith(columns: Record<string, Vector>): SpineWindow {
  const names = Object.keys(columns);
  const data = names.map((name) => columns[name]!.data[0]!);
  const batch = new RecordBatch(Object.fromEntries(names.map((name, at) => [name, data[at]!])));
  return { firstRow: 0, batch, nameOf: (row) => `row ${row + 1}` };
}
