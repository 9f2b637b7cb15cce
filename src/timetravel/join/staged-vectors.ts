import type { VectorReads } from './reigning.ts';

/** Memory that was used before, where there is some: fresh memory costs as much as a copy. */
export type Keep = (bytes: number) => Uint8Array<ArrayBuffer>;

/**
 * The vectors of a window, read in the order of the file and set down by slices of the answer. Going
 * straight to their places they would touch another page of memory each; so they go one behind the
 * other, and then to places that lie near each other.
 */
export class StagedVectors {
  private numberBytes: number;
  private sliceRows: number;
  private bytes: Uint8Array<ArrayBuffer>;
  /** Of each vector in `bytes`, its row. */
  private rows: Int32Array;
  /** The first of each slice. */
  private starts: Int32Array;

  /** `rows`: those of the answer that have a vector, `ids` by row. `numberBytes`: of each, the first. */
  constructor(
    vectors: VectorReads,
    ids: Float64Array,
    rows: Int32Array,
    sliceRows: number,
    numberBytes: number,
    keep: Keep,
  ) {
    const slices = Math.ceil(ids.length / sliceRows);
    const starts = new Int32Array(slices + 1);
    for (const row of rows) starts[Math.floor(row / sliceRows) + 1]!++;
    for (let slice = 0; slice < slices; slice++) starts[slice + 1]! += starts[slice]!;
    const next = starts.slice();
    const bytes = keep(rows.length * numberBytes);
    const staged = new Int32Array(rows.length);
    vectors.each(ids, rows, (row, from, place) => {
      const at = next[Math.floor(row / sliceRows)]!++;
      from.copy(bytes, at * numberBytes, place, place + numberBytes);
      staged[at] = row;
    });
    this.numberBytes = numberBytes;
    this.sliceRows = sliceRows;
    this.bytes = bytes;
    this.rows = staged;
    this.starts = starts;
  }

  /** Copies those of a slice to their places: `offsets` are by the rows of the slice. */
  copy(slice: number, out: Uint8Array, offsets: Uint32Array): void {
    const { bytes, rows, starts, numberBytes } = this;
    const first = slice * this.sliceRows;
    for (let at = starts[slice]!; at < starts[slice + 1]!; at++) {
      const from = at * numberBytes;
      out.set(bytes.subarray(from, from + numberBytes), offsets[rows[at]! - first]);
    }
  }
}
