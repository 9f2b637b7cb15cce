import { HASH_BYTES } from './batch.ts';
import type { Environment, Table } from './environment.ts';

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
    const page = 1_024;
    let start: Uint8Array | undefined;
    for (;;) {
      const entries = Array.from(
        this.table.getRange({ start, exclusiveStart: start !== undefined, limit: page }),
        ({ key, value }) => ({
          hash: key,
          vectorId: new DataView(value.buffer, value.byteOffset, 8).getFloat64(0, true),
        }),
      );
      yield* entries;
      if (entries.length < page) return;
      start = entries.at(-1)!.hash;
    }
  }
}
