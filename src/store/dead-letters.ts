import { pack, unpack } from 'msgpackr';

import type { DeadLetter, HeaderValue } from './batch.ts';
import { CheckedTable } from './checked-table.ts';
import type { Environment } from './environment.ts';
import { type PartitionKey, positionKeys, type SourcePosition } from './keys.ts';

/** Records that could not become revisions, by where they stood in their source. */
export class DeadLetters {
  /** Positions put while somebody copies the letters, who must not miss them. */
  journal: SourcePosition[] | undefined;
  private table: CheckedTable<SourcePosition>;

  constructor(environment: Environment) {
    this.table = new CheckedTable(environment, 'dead_letter', positionKeys);
  }

  /** Within a commit. The same position again replaces what was there: a replay adds nothing. */
  put({ position, ...letter }: DeadLetter): void {
    const stored: StoredLetter = { ...letter, headers: Object.entries(letter.headers) };
    this.table.put(position, pack(stored));
    this.journal?.push(position);
  }

  get(position: SourcePosition): DeadLetter | undefined {
    const value = this.table.get(position);
    return value && letterOf({ key: position, value });
  }

  has(position: SourcePosition): boolean {
    return this.table.has(position);
  }

  /** Within a commit. */
  remove(position: SourcePosition): void {
    this.table.remove(position);
  }

  /** Up to `limit` dead letters, in the order of their positions, after `after`. */
  list(limit: number, after?: SourcePosition): DeadLetter[] {
    const page = this.table.range({ start: after, exclusiveStart: after !== undefined, limit });
    return page.map(letterOf);
  }

  /** Up to `limit` dead letters of a partition, from `offset` on. */
  ofPartition(partition: PartitionKey, offset: number, limit: number): DeadLetter[] {
    return this.table.range({ ...boundsOf(partition, offset), limit }).map(letterOf);
  }

  /** The offset of the last dead letter of a partition. */
  lastOffset(partition: PartitionKey): number | undefined {
    const { start, end } = boundsOf(partition, 0);
    const backwards = { start: end, end: start, inclusiveEnd: true, reverse: true };
    return this.table.keysOf({ ...backwards, limit: 1 })[0]?.offset;
  }

  /** How many dead letters of a partition there are from `offset` on. */
  countOfPartition(partition: PartitionKey, offset: number): number {
    return this.table.countOfRange(boundsOf(partition, offset));
  }

  count(): number {
    return this.table.count();
  }
}

/**
 * Headers as pairs: what packs objects takes some names, as `toJSON`, for something else than names.
 * Letters that were stored before have them as an object.
 */
interface StoredLetter extends Omit<DeadLetter, 'position' | 'headers'> {
  headers: DeadLetter['headers'] | [string, HeaderValue][];
}

function letterOf({ key, value }: { key: SourcePosition; value: Buffer }): DeadLetter {
  const { headers, ...letter } = unpack(value) as StoredLetter;
  const entries = Array.isArray(headers) ? headers : Object.entries(headers);
  return { position: key, ...letter, headers: Object.fromEntries(entries) };
}

function boundsOf({ source, topic, partition }: PartitionKey, offset: number) {
  const at = { source, topic, partition };
  const end = { ...at, offset: Number.MAX_SAFE_INTEGER };
  return { start: { ...at, offset }, end, inclusiveEnd: true };
}
