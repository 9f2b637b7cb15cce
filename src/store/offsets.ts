import type { Environment, Table } from './environment.ts';
import { type PartitionKey, partitionKeys } from './keys.ts';

/** The next offset to read of each partition of each source: u64, little-endian. */
export class Offsets {
  private table: Table<PartitionKey>;

  constructor(environment: Environment) {
    this.table = environment.table('offset', partitionKeys);
  }

  /** Undefined before the first commit of that partition. */
  next(key: PartitionKey): bigint | undefined {
    const value = this.table.getBinary(key);
    return value && Buffer.from(value).readBigUInt64LE();
  }

  /** Every partition's next offset. */
  all(): { key: PartitionKey; next: bigint }[] {
    const range = this.table.getRange({ start: undefined });
    return Array.from(range, ({ key, value }) => ({
      key,
      next: Buffer.from(value).readBigUInt64LE(),
    }));
  }

  /** Within a commit. */
  put(key: PartitionKey, next: bigint): void {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(next);
    void this.table.put(key, value);
  }
}
