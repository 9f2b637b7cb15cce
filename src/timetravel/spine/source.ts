import { createReadStream } from 'node:fs';

import { Pace } from '../../ground/pace.ts';
import { readArrowFile } from './arrow-file.ts';
import { arrowPieces } from './arrow-source.ts';
import { planParquet } from './parquet-source.ts';
import type { PieceLimits } from './records.ts';
import { textPieces } from './text-source.ts';
import type { SpineFormat, SpinePiece, TextColumn } from './window.ts';

/** Bytes of a file that are read at a time. */
const CHUNK_BYTES = 2 ** 20;

export interface SpineLimits extends PieceLimits {
  /** Types of columns of text, where they are not to be found from the first piece. */
  columnTypes?: Readonly<Record<string, TextColumn['type']>>;
}

/** A spine, cut into pieces that are read elsewhere. */
export interface SpineSource {
  /** How many rows there are; undefined until all of them have come. */
  readonly rows: number | undefined;
  /**
   * The pieces in order, at least one, from the one that begins with the row `skipRows`, which is a
   * border that an earlier run with the same limits had. A stream has them once.
   */
  pieces(skipRows?: number): AsyncGenerator<SpinePiece>;
  close(): Promise<void>;
}

/** Opens a spine on the disk. Throws BAD_REQUEST for what is not in that format. */
export async function openSpineFile(
  path: string,
  format: SpineFormat,
  limits: SpineLimits,
): Promise<SpineSource> {
  if (format === 'parquet') {
    const plan = await planParquet(path, limits);
    const rows = plan.reduce((sum, piece) => sum + piece.rows, 0);
    return {
      rows,
      async *pieces(skipRows = 0) {
        for (const piece of plan) {
          const end = piece.firstRow + piece.rows;
          if (end <= skipRows && skipRows > 0) continue;
          // Of a run before an upgrade the borders may be others.
          const firstRow = Math.max(piece.firstRow, skipRows);
          yield { ...piece, firstRow, rows: end - firstRow };
        }
      },
      close: async () => {},
    };
  }
  // Opened when it is read, so that there is nothing to close before.
  const chunks = { [Symbol.asyncIterator]: () => readFile(path, format) };
  return readSpineStream(chunks, format, limits);
}

async function* readFile(path: string, format: SpineFormat): AsyncGenerator<Uint8Array> {
  if (format === 'arrow') yield* readArrowFile(path);
  else yield* createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Uint8Array>;
}

/** Reads a spine as it comes. */
export function readSpineStream(
  source: AsyncIterable<Uint8Array>,
  format: Exclude<SpineFormat, 'parquet'>,
  limits: SpineLimits,
): SpineSource {
  let rows: number | undefined;
  let running: AsyncGenerator<SpinePiece> | undefined;
  return {
    get rows() {
      return rows;
    },
    async *pieces(skipRows = 0) {
      running =
        format === 'arrow' ? arrowPieces(source, limits) : textPieces(source, format, limits);
      const pace = new Pace();
      let end = 0;
      for await (const piece of running) {
        if (piece.firstRow >= skipRows) yield piece;
        // A batch that is in memory has all its pieces at once.
        await pace.rest();
        end = piece.firstRow + piece.rows;
      }
      rows = end;
    },
    async close() {
      await running?.return(undefined);
    },
  };
}
