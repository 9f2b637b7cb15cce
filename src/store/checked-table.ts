import { crc32 } from 'node:zlib';

import { TidemarkError } from '../ground/errors.ts';
import {
  bytesOf,
  countOf,
  eachEntry,
  type Environment,
  type KeyCodec,
  type Table,
} from './environment.ts';

const CHECKSUM_BYTES = 4;
/** No key is longer. */
const KEY_BYTES_MAX = 1_978;

/**
 * A table whose values are whole or refused.
 *
 * value: what was put │ u32 CRC-32 of key and value, little-endian
 */
export class CheckedTable<K> {
  readonly name: string;
  private place: string;
  private keys: KeyCodec<K>;
  private table: Table<K>;
  private key = Buffer.alloc(KEY_BYTES_MAX);

  constructor(environment: Environment, name: string, keys: KeyCodec<K>) {
    this.name = name;
    this.place = environment.place;
    this.keys = keys;
    this.table = environment.table(name, keys);
  }

  /** The value in memory of its own. Throws STORE_CORRUPT. */
  get(key: K): Buffer | undefined {
    const stored = this.table.getBinary(key);
    return stored && this.open(key, stored);
  }

  has(key: K): boolean {
    return this.table.getBinaryFast(key) !== undefined;
  }

  /** How many entries a range has. */
  countOfRange(options: Parameters<Table<K>['getKeysCount']>[0]): number {
    return this.table.getKeysCount(options);
  }

  /** Within a commit. */
  put(key: K, value: Uint8Array, options?: { append: true }): void {
    void this.table.put(key, Buffer.concat([value, this.checksumOf(key, value)]), options);
  }

  /** Within a commit. */
  remove(key: K): void {
    void this.table.remove(key);
  }

  /** Entries of a range in key order. Throws STORE_CORRUPT. */
  range(options: Parameters<Table<K>['getRange']>[0]): { key: K; value: Buffer }[] {
    return Array.from(this.table.getRange(options), ({ key, value }) => ({
      key,
      value: this.open(key, value),
    }));
  }

  /** Keys of a range in order; the values are not looked at. */
  keysOf(options: Parameters<Table<K>['getKeys']>[0]): K[] {
    return Array.from(this.table.getKeys(options));
  }

  /** Every entry in key order, read `page` at a time. Throws STORE_CORRUPT. */
  *entries(page: number): Iterable<{ key: K; value: Buffer }> {
    for (const { key, value } of eachEntry(this.table, page)) {
      yield { key, value: this.open(key, value) };
    }
  }

  count(): number {
    return countOf(this.table);
  }

  /** What it takes of the file. */
  bytes(): number {
    return bytesOf(this.table);
  }

  /** Within a commit: gives its checksum to every value that has none, as of before there were any. */
  checkAll(): void {
    for (const { key, value } of Array.from(this.table.getRange({ start: undefined }))) {
      if (!this.isWhole(key, value)) this.put(key, new Uint8Array(value));
    }
  }

  private open(key: K, stored: Uint8Array): Buffer {
    if (this.isWhole(key, stored)) {
      const end = stored.byteLength - CHECKSUM_BYTES;
      return Buffer.from(stored.subarray(0, end));
    }
    throw new TidemarkError(
      'STORE_CORRUPT',
      `${this.place}: the ${this.name} ${JSON.stringify(key)} does not have the checksum it was ` +
        'written with; run `tidemark verify`, restore a backup',
    );
  }

  private isWhole(key: K, stored: Uint8Array): boolean {
    const end = stored.byteLength - CHECKSUM_BYTES;
    if (end < 0) return false;
    return this.checksumOf(key, stored.subarray(0, end)).equals(stored.subarray(end));
  }

  private checksumOf(key: K, value: Uint8Array): Buffer {
    const keyBytes = this.keys.writeKey(key, this.key, 0);
    const checksum = Buffer.alloc(CHECKSUM_BYTES);
    checksum.writeUInt32LE(crc32(value, crc32(this.key.subarray(0, keyBytes))));
    return checksum;
  }
}
