import { crc32 } from 'node:zlib';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { CheckedBits } from './checked-bits.ts';
import { countOf, type Environment, type Table } from './environment.ts';
import { numberKeys } from './keys.ts';
import type { ResidentVectors } from './resident-vectors.ts';

export const CHECKSUM_BYTES = 4;

/**
 * The vector pool of one model version: vectors by id, append-only. Ids are whole numbers from 0,
 * never renumbered and never used again.
 *
 * value: the vector, little-endian in the version's dtype │ u32 CRC-32 of it
 */
export class VectorPool {
  readonly vectorBytes: number;
  readonly checked = new CheckedBits();
  private place: string;
  private table: Table<number>;
  private resident: ResidentVectors | undefined;
  private scratch: Uint8Array;
  private shared: Uint8Array | undefined;
  private vector: Uint8Array = new Uint8Array(0);
  private trailer: DataView = new DataView(new ArrayBuffer(0));

  constructor(environment: Environment, vectorBytes: number, resident?: ResidentVectors) {
    this.place = environment.place;
    this.resident = resident;
    this.table = environment.table('vector', numberKeys);
    this.vectorBytes = vectorBytes;
    this.scratch = new Uint8Array(vectorBytes + CHECKSUM_BYTES);
  }

  /** Within a commit. `id` is greater than every one before it. */
  append(id: number, vector: Uint8Array): void {
    this.put(id, vector, true);
  }

  /** Within a commit: a vector under the id that it has elsewhere, in any order. */
  insert(id: number, vector: Uint8Array): void {
    this.put(id, vector, false);
  }

  private put(id: number, vector: Uint8Array, append: boolean): void {
    assert(vector.byteLength === this.vectorBytes, 'a vector is whole');
    this.scratch.set(vector);
    const view = new DataView(this.scratch.buffer);
    view.setUint32(this.vectorBytes, crc32(vector), true);
    // A commit that was rolled back may have read another vector under this id.
    this.forget(id);
    void this.table.put(id, this.scratch, { append });
  }

  /** Within a commit. */
  remove(id: number): void {
    this.forget(id);
    void this.table.remove(id);
  }

  private forget(id: number): void {
    this.checked.clear(id);
    this.resident?.remove(id);
  }

  has(id: number): boolean {
    return this.table.getBinaryFast(id) !== undefined;
  }

  /**
   * Copies the vector's bytes into `out` at `at`. The checksum is verified the first time that this
   * process reads the vector. Throws STORE_CORRUPT when it is not there or not what was written.
   */
  copyInto(id: number, out: Uint8Array, at: number): void {
    const { resident } = this;
    if (resident?.copyInto(id, out, at) === true) return;
    const vector = this.read(id);
    out.set(vector, at);
    resident?.add(id, vector);
  }

  /** True when the stored vector has exactly these bytes. */
  equals(id: number, bytes: Uint8Array): boolean {
    return Buffer.compare(this.read(id), bytes) === 0;
  }

  /** The CRC-32 of the stored vector's bytes. */
  checksum(id: number): number {
    this.read(id);
    return this.trailer.getUint32(0, true);
  }

  /** Reads and verifies the vector, whether or not it was verified before. */
  verify(id: number): void {
    this.checked.clear(id);
    this.read(id);
  }

  /** The vector, valid until the next read. */
  private read(id: number): Uint8Array {
    const bytes = this.table.getBinaryFast(id);
    if (bytes === undefined || this.table.lastSize !== this.scratch.byteLength) {
      throw this.corrupt(
        id,
        bytes === undefined ? 'is missing' : `has ${this.table.lastSize} bytes`,
      );
    }
    if (bytes !== this.shared) {
      this.shared = bytes;
      this.vector = new Uint8Array(bytes.buffer, bytes.byteOffset, this.vectorBytes);
      this.trailer = new DataView(
        bytes.buffer,
        bytes.byteOffset + this.vectorBytes,
        CHECKSUM_BYTES,
      );
    }
    if (!this.checked.has(id)) {
      if (crc32(this.vector) !== this.trailer.getUint32(0, true)) {
        throw this.corrupt(id, 'does not have the checksum it was written with');
      }
      this.checked.add(id);
    }
    return this.vector;
  }

  count(): number {
    return countOf(this.table);
  }

  private corrupt(id: number, what: string): TidemarkError {
    return new TidemarkError(
      'STORE_CORRUPT',
      `${this.place}: vector ${id} ${what}; run \`tidemark verify\``,
    );
  }

  /** Every vector id in order. */
  *ids(): Iterable<number> {
    const page = 4_096;
    let from = 0;
    for (;;) {
      // Short ranges, so that none stays open while the caller does other things.
      const keys = Array.from(this.table.getKeys({ start: from, limit: page }));
      yield* keys;
      if (keys.length < page) return;
      from = keys.at(-1)! + 1;
    }
  }
}
