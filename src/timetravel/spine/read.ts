import { decodeBatches } from './arrow.ts';
import { readParquet } from './parquet.ts';
import { type ReadOptions, readText } from './text.ts';
import type { SpinePiece, SpineWindow } from './window.ts';

/** Makes a window of a piece. Throws BAD_REQUEST, naming the row or line where it can. */
export async function readPiece(
  piece: SpinePiece,
  options: ReadOptions = {},
): Promise<SpineWindow> {
  if (piece.format === 'parquet') return readParquet(piece);
  if (piece.format !== 'arrow') return readText(piece, options);
  const { firstRow, bytes } = piece;
  const nameOf = (row: number) => `row ${firstRow + row + 1}`;
  return { firstRow, batch: decodeBatches(bytes), nameOf };
}
