import { crc32 } from 'node:zlib';

import { HASH_BYTES } from './batch.ts';
import type { Environment, Table } from './environment.ts';

const hashKeys = {
  writeKey(hash: Uint8Array, target: Buffer, start: number): number {
    target.set(hash, start);
    return start + HASH_BYTES;
  },
  readKey(source: Uint8Array, start: number): Uint8Array {
    // lmdb reuses the buffer, and a Buffer's own `slice` is no copy.
    return new Uint8Array(source.subarray(start, start + HASH_BYTES));
  },
};

const CHECKSUM_BYTES = 4;

/**
 * The pool of model inputs: by the hash of the exact input, the id of its vector. A weak reference:
 * an entry may be forgotten, and its input is then embedded anew.
 *
 * value: f64 vector id │ u32 CRC-32 of hash and id
 */
export class Inputs {
  /** Hashes put while somebody copies the pool, who must not miss them. */
  journal: Uint8Array[] | undefined;
  private table: Table<Uint8Array>;
  private scratch = new Uint8Array(HASH_BYTES + 8 + CHECKSUM_BYTES);

  constructor(environment: Environment) {
    this.table = environment.table('input', hashKeys);
  }

  /** The vector of an equal input, if one was embedded before. */
  vectorId(hash: Uint8Array): number | undefined {
    const bytes = this.table.getBinaryFast(hash);
    return bytes && this.decode(hash, bytes, this.table.lastSize);
  }

  /** Within a commit. */
  put(hash: Uint8Array, vectorId: number): void {
    const { scratch } = this;
    const view = new DataView(scratch.buffer);
    scratch.set(hash);
    view.setFloat64(HASH_BYTES, vectorId, true);
    view.setUint32(HASH_BYTES + 8, crc32(scratch.subarray(0, HASH_BYTES + 8)), true);
    void this.table.put(hash, scratch.subarray(HASH_BYTES));
    this.journal?.push(hash);
  }

  /** Within a commit. */
  remove(hash: Uint8Array): void {
    void this.table.remove(hash);
  }

  /** Up to `limit` inputs after the one of hash `after`, in order, with the ids of their vectors. */
  page(
    after: Uint8Array | undefined,
    limit: number,
  ): { hash: Uint8Array; vectorId: number | undefined }[] {
    const range = this.table.getRange({
      start: after,
      exclusiveStart: after !== undefined,
      limit,
    });
    return Array.from(range, ({ key, value }) => ({
      hash: key,
      vectorId: this.decode(key, value, value.byteLength),
    }));
  }

  /** Undefined for an entry that is not as it was written: its input is embedded anew. */
  private decode(hash: Uint8Array, value: Uint8Array, length: number): number | undefined {
    if (length !== 8 + CHECKSUM_BYTES) return undefined;
    const view = new DataView(value.buffer, value.byteOffset, length);
    const { scratch } = this;
    scratch.set(hash);
    scratch.set(new Uint8Array(value.buffer, value.byteOffset, 8), HASH_BYTES);
    const isWhole = view.getUint32(8, true) === crc32(scratch.subarray(0, HASH_BYTES + 8));
    return isWhole ? view.getFloat64(0, true) : undefined;
  }
}
