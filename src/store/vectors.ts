import { crc32 } from 'node:zlib';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { CheckedBits, CHECKSUM_BYTES } from './checked-bits.ts';
import { countOf, type Environment, type Table } from './environment.ts';
import { numberKeys } from './keys.ts';
import type { ResidentVectors } from './resident-vectors.ts';

const APPENDED = { append: true } as const;

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
  private scratchView: DataView;
  private shared: Uint8Array | undefined;
  private vector: Uint8Array = new Uint8Array(0);
  private trailer: DataView = new DataView(new ArrayBuffer(0));

  constructor(environment: Environment, vectorBytes: number, resident?: ResidentVectors) {
    this.place = environment.place;
    this.resident = resident;
    this.table = environment.table('vector', numberKeys);
    this.vectorBytes = vectorBytes;
    this.scratch = new Uint8Array(vectorBytes + CHECKSUM_BYTES);
    this.scratchView = new DataView(this.scratch.buffer);
  }

  /** Within a commit. `id` is greater than every one before it; `checksum` is the vector's CRC-32. */
  append(id: number, vector: Uint8Array, checksum = crc32(vector)): void {
    this.put(id, vector, checksum, APPENDED);
  }

  /** Within a commit: a vector under the id that it has elsewhere, in any order. */
  insert(id: number, vector: Uint8Array): void {
    this.put(id, vector, crc32(vector));
  }

  private put(id: number, vector: Uint8Array, checksum: number, how?: { append: true }): void {
    assert(vector.byteLength === this.vectorBytes, 'a vector is whole');
    this.scratch.set(vector);
    this.scratchView.setUint32(this.vectorBytes, checksum, true);
    // A commit that was rolled back may have read another vector under this id.
    this.forget(id);
    void this.table.put(id, this.scratch, how);
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

  /**
   * As `copyInto`, for whoever writes it elsewhere under a checksum of its own: what comes from the
   * file is verified, though it was before. What the disk has lost since would look whole ever after.
   */
  copyVerified(id: number, out: Uint8Array, at: number): void {
    if (this.resident?.copyInto(id, out, at) === true) return;
    this.verify(id);
    out.set(this.vector, at);
  }

  /** Whether it is copied without the file. */
  isResident(id: number): boolean {
    return this.resident?.has(id) === true;
  }

  /** True when the stored vector has exactly these bytes. */
  equals(id: number, bytes: Uint8Array): boolean {
    return Buffer.compare(this.read(id), bytes) === 0;
  }

  /**
   * The CRC-32 that the vector was stored with; whether it still is the one of its bytes is not
   * looked at: those who hold a vector against many others would read all of them for nothing.
   */
  checksum(id: number): number {
    this.find(id);
    return this.trailer.getUint32(0, true);
  }

  /** Reads and verifies the vector, whether or not it was verified before. */
  verify(id: number): void {
    this.checked.clear(id);
    this.read(id);
  }

  /** Points `vector` and `trailer` at the stored bytes, until the next read. */
  private find(id: number): void {
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
  }

  /** The vector, verified, and valid until the next read. */
  private read(id: number): Uint8Array {
    this.find(id);
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
