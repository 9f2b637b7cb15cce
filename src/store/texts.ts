import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { HASH_BYTES } from './batch.ts';
import type { ModelVersion } from './catalogue.ts';
import { CheckedTable } from './checked-table.ts';
import type { Environment } from './environment.ts';
import { numberKeys } from './keys.ts';

/** The exact text that a model made a vector of, and its hash among the inputs. */
export interface KeptText {
  hash: Uint8Array;
  text: string;
}

const PLAIN = 0;
const ZSTD = 1;
const HEAD_BYTES = HASH_BYTES + 1;
/** Of shorter ones too little is saved for what it takes. */
const COMPRESSED_FROM = 256;
const PAGE = 1_024;

/** Whether the texts of its inputs are stored beside their vectors. */
export function keepsInputs({ model }: Pick<ModelVersion, 'model'>): boolean {
  return model?.keep_inputs === true;
}

/**
 * The texts of the model inputs of one model version, by the id of their vector. They come with it,
 * and every input has a vector of its own, so that no text is lost to one that means the same to the
 * model.
 *
 * value: hash of the input, 16 bytes │ u8: 0 or 1 │ the text in UTF-8, where that is 1 as zstd
 */
export class Texts {
  private table: CheckedTable<number>;

  constructor(environment: Environment) {
    this.table = new CheckedTable(environment, 'text', numberKeys);
  }

  /**
   * Within a commit. `stored`: as `packText` makes it. Vectors come in any order, unless it is said
   * that this one is greater than every one before it.
   */
  put(vectorId: number, stored: Uint8Array, how?: { append: true }): void {
    this.table.put(vectorId, stored, how);
  }

  /** Within a commit. */
  remove(vectorId: number): void {
    this.table.remove(vectorId);
  }

  has(vectorId: number): boolean {
    return this.table.has(vectorId);
  }

  /** The text that the vector was made of; undefined where it was sent as numbers. Throws STORE_CORRUPT. */
  get(vectorId: number): KeptText | undefined {
    const stored = this.table.get(vectorId);
    return stored && parseText(stored);
  }

  /** Whether the vector was made of the input of that hash. Throws STORE_CORRUPT. */
  isOf(vectorId: number, hash: Uint8Array): boolean {
    const stored = this.table.get(vectorId);
    return stored !== undefined && stored.subarray(0, HASH_BYTES).equals(hash);
  }

  /** The value as it is, to be stored elsewhere. Throws STORE_CORRUPT. */
  stored(vectorId: number): Uint8Array | undefined {
    return this.table.get(vectorId);
  }

  /** The ids of all vectors that have one, in order. */
  *ids(): Iterable<number> {
    let start: number | undefined;
    for (;;) {
      const ids = this.table.keysOf({ start, exclusiveStart: start !== undefined, limit: PAGE });
      yield* ids;
      if (ids.length < PAGE) return;
      start = ids.at(-1);
    }
  }

  count(): number {
    return this.table.count();
  }

  /** What they take of the file. */
  bytes(): number {
    return this.table.bytes();
  }
}

/**
 * What is stored of a text. Compressing takes longer than storing: it is for before the commit, and
 * not for what will hardly be stored.
 */
export function packText(hash: Uint8Array, text: string, how?: 'plain'): Uint8Array {
  const plain = Buffer.from(text);
  const isLong = how !== 'plain' && plain.byteLength >= COMPRESSED_FROM;
  const packed = isLong ? zstdCompressSync(plain) : plain;
  const isPacked = packed.byteLength < plain.byteLength;
  return Buffer.concat([hash, Buffer.of(isPacked ? ZSTD : PLAIN), isPacked ? packed : plain]);
}

function parseText(stored: Buffer): KeptText {
  const body = stored.subarray(HEAD_BYTES);
  return {
    hash: stored.subarray(0, HASH_BYTES),
    text: (stored[HASH_BYTES] === ZSTD ? zstdDecompressSync(body) : body).toString(),
  };
}
