import { join } from 'node:path';

import { type Dtype, vectorBytes } from '../../store/dtype.ts';
import { Widening } from '../../store/widening.ts';
import { encodeFile } from '../formats/encodings.ts';
import { integerColumn } from '../join/columns.ts';
import { batchOf, putFile, syncFolders } from './files.ts';
import { VECTORS, fileName } from './layout.ts';

/**
 * The dtype of all vectors in a lake: few readers there know another. Numbers of float16 are the same
 * ones, those of int8 times their scale are rounded once.
 */
const LAKE_DTYPE = 'float32';

/** Vectors that are waiting to be written, by id. */
export class VectorWindow {
  private dim: number;
  private dtype: Dtype;
  private bytesMax: number;
  private bytes = 0;
  private waiting = new Map<number, Uint8Array>();

  constructor(dim: number, dtype: Dtype, bytesMax: number) {
    this.dim = dim;
    this.dtype = dtype;
    this.bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.bytes >= this.bytesMax;
  }

  /** `bytes`: in the version's dtype. */
  add(id: number, bytes: Uint8Array): void {
    this.waiting.set(id, bytes);
    this.bytes += vectorBytes(this.dim, LAKE_DTYPE);
  }

  /** Writes a file, where there are any. Whether it did. */
  async flush(table: string, from: number, to: number): Promise<boolean> {
    const { waiting, dim, dtype } = this;
    if (waiting.size === 0) return false;
    const ids = Float64Array.from(waiting.keys()).toSorted();
    const path = join(VECTORS, fileName(from, to));
    const chunks = encodeVectors(ids, dim, (row, out) =>
      widen(waiting.get(ids[row]!)!, dim, dtype, out),
    );
    await putFile(table, path, chunks);
    await syncFolders(table, [path]);
    this.waiting = new Map();
    this.bytes = 0;
    return true;
  }
}

/** A file of vectors by ascending id; `write` writes the one of a row, as little-endian float32. */
export function encodeVectors(
  ids: Float64Array,
  dim: number,
  write: (row: number, out: Uint8Array) => void,
): Uint8Array[] {
  const batch = batchOf([integerColumn('vector_id', ids)]);
  const bytes = vectorBytes(dim, LAKE_DTYPE);
  const shape = { name: 'vector', at: 1, dim, dtype: LAKE_DTYPE } as const;
  const gather = (out: Uint8Array, offsets: Uint32Array): void => {
    for (let row = 0; row < ids.length; row++) {
      const at = offsets[row]!;
      write(row, out.subarray(at, at + bytes));
    }
  };
  const vectors = [{ ...shape, valid: new Uint8Array(ids.length).fill(1), gather }];
  const answer = { firstRow: 0, batch, vectors, spineColumns: 1 };
  return encodeFile('parquet', { schema: batch.schema, vectors: [shape] }, answer, '{}');
}

/** Copies a vector, as float32. */
function widen(bytes: Uint8Array, dim: number, dtype: Dtype, out: Uint8Array): void {
  if (dtype === LAKE_DTYPE) {
    out.set(bytes);
    return;
  }
  const widening = new Widening(dim, dtype);
  widening.vector.set(bytes);
  const wide = new Float32Array(dim);
  widening.write(wide, 0);
  out.set(new Uint8Array(wide.buffer));
}
