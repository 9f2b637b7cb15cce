import { HASH_BYTES } from './batch.ts';
import { eachEntry, type Environment, type Table } from './environment.ts';

const hashKeys = {
  writeKey(hash: Uint8Array, target: Buffer, start: number): number {
    target.set(hash, start);
    return start + HASH_BYTES;
  },
  readKey(source: Uint8Array, start: number): Uint8Array {
    return source.slice(start, start + HASH_BYTES);
  },
};

/** The pool of model inputs: by the hash of the exact input, the id of its vector (f64). */
export class Inputs {
  private table: Table<Uint8Array>;
  private value = new Uint8Array(8);

  constructor(environment: Environment) {
    this.table = environment.table('input', hashKeys);
  }

  /** The vector of an equal input, if one was embedded before. */
  vectorId(hash: Uint8Array): number | undefined {
    const bytes = this.table.getBinaryFast(hash);
    return bytes && new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  }

  /** Within a commit. */
  put(hash: Uint8Array, vectorId: number): void {
    new DataView(this.value.buffer).setFloat64(0, vectorId, true);
    void this.table.put(hash, this.value);
  }

  /** Every input's hash, in order, with the id of its vector. */
  *entries(): Iterable<{ hash: Uint8Array; vectorId: number }> {
    for (const { key, value } of eachEntry(this.table, 1_024)) {
      const view = new DataView(value.buffer, value.byteOffset, 8);
      yield { hash: key, vectorId: view.getFloat64(0, true) };
    }
  }
}
