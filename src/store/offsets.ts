import { CheckedTable } from './checked-table.ts';
import type { Environment } from './environment.ts';
import { type PartitionKey, partitionKeys } from './keys.ts';

/** The next offset to read of each partition of each source: u64, little-endian. */
export class Offsets {
  private table: CheckedTable<PartitionKey>;

  constructor(environment: Environment) {
    this.table = new CheckedTable(environment, 'offset', partitionKeys);
  }

  /** Undefined before the first commit of that partition. */
  next(key: PartitionKey): bigint | undefined {
    return this.table.get(key)?.readBigUInt64LE();
  }

  /** Every partition's next offset. */
  all(): { key: PartitionKey; next: bigint }[] {
    const entries = this.table.range({ start: undefined });
    return entries.map(({ key, value }) => ({ key, next: value.readBigUInt64LE() }));
  }

  /** Within a commit. */
  remove(key: PartitionKey): void {
    this.table.remove(key);
  }

  /** Within a commit. */
  put(key: PartitionKey, next: bigint): void {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(next);
    this.table.put(key, value);
  }
}
