import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

import { excerptOf, MAGIC, rowsOfGroups } from '../formats/parquet-footer.ts';

/** The length of the footer, and the magic behind it. */
const TRAILER_BYTES = 8;

/** Some rows of a file, as a file of their own. */
export interface ParquetPart {
  blob: Blob;
  /** Which of the file's row groups it has. */
  firstGroup: number;
  groupRows: number[];
  /** How far into the first of them the rows begin. */
  offset: number;
  /** It cannot be read from then on. */
  close: () => void;
}

/**
 * The row groups of a file that hold these rows, none where there are no rows, as a file of their
 * own: its reader counts bytes in 32 bits, and files are longer. Throws for what is no Parquet file.
 */
export function partOf(path: string, firstRow: number, rows: number): ParquetPart {
  const descriptor = openSync(path, 'r');
  try {
    const footer = readFooter(descriptor);
    const part = groupsOf(rowsOfGroups(footer), firstRow, rows);
    const { firstGroup, groupRows } = part;
    const { extents, tail } = excerptOf(footer, firstGroup, firstGroup + groupRows.length);
    const pieces = [
      new Uint8Array(MAGIC),
      ...extents.map(({ start, end }) => ({ descriptor, start, end })),
      tail,
    ];
    const blob = new PieceBlob(pieces);
    return { ...part, blob, close: () => closeSync(descriptor) };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function readFooter(descriptor: number): Buffer {
  const end = fstatSync(descriptor).size - TRAILER_BYTES;
  const trailer = Buffer.alloc(TRAILER_BYTES);
  read(descriptor, end, trailer);
  const footer = Buffer.alloc(Math.min(end, trailer.readUInt32LE()));
  read(descriptor, end - footer.byteLength, footer);
  return footer;
}

function groupsOf(
  groups: readonly number[],
  firstRow: number,
  rows: number,
): Pick<ParquetPart, 'firstGroup' | 'groupRows' | 'offset'> {
  const groupRows: number[] = [];
  let [begin, offset, firstGroup] = [0, 0, 0];
  groups.forEach((count, at) => {
    const end = begin + count;
    if (end > firstRow && begin < firstRow + rows) {
      if (groupRows.length === 0) [firstGroup, offset] = [at, firstRow - begin];
      groupRows.push(count);
    }
    begin = end;
  });
  return { firstGroup, groupRows, offset };
}

/** Bytes in memory, or of an open file. */
type Piece = Uint8Array | { descriptor: number; start: number; end: number };

/** Pieces one after another. Node's own slices of files end at two GiB. */
class PieceBlob extends Blob {
  override readonly size: number;
  private pieces: readonly Piece[];

  constructor(pieces: readonly Piece[]) {
    super([]);
    this.pieces = pieces;
    this.size = pieces.reduce((sum, piece) => sum + bytesOf(piece), 0);
  }

  override slice(start = 0, end = this.size): Blob {
    let from = 0;
    const within: Piece[] = [];
    for (const piece of this.pieces) {
      const to = from + bytesOf(piece);
      const [begin, stop] = [Math.max(start, from) - from, Math.min(end, to) - from];
      if (begin < stop) within.push(cut(piece, begin, stop));
      from = to;
    }
    return new PieceBlob(within);
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    const out = new Uint8Array(this.size);
    let at = 0;
    for (const piece of this.pieces) {
      const room = out.subarray(at, (at += bytesOf(piece)));
      if (piece instanceof Uint8Array) room.set(piece);
      else read(piece.descriptor, piece.start, room);
    }
    return out.buffer;
  }
}

function bytesOf(piece: Piece): number {
  return piece instanceof Uint8Array ? piece.byteLength : piece.end - piece.start;
}

function cut(piece: Piece, begin: number, stop: number): Piece {
  if (piece instanceof Uint8Array) return piece.subarray(begin, stop);
  const { descriptor, start } = piece;
  return { descriptor, start: start + begin, end: start + stop };
}

/** Throws where the file ends before. */
function read(descriptor: number, start: number, out: Uint8Array): void {
  let at = 0;
  while (at < out.byteLength) {
    const bytes = readSync(descriptor, out, at, out.byteLength - at, start + at);
    if (bytes === 0) throw new Error(`it ends before byte ${start + out.byteLength}`);
    at += bytes;
  }
}
