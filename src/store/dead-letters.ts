import { pack, unpack } from 'msgpackr';

import type { DeadLetter } from './batch.ts';
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
    this.table.put(position, pack(letter));
    this.journal?.push(position);
  }

  get(position: SourcePosition): DeadLetter | undefined {
    const value = this.table.get(position);
    return value && { position, ...(unpack(value) as Omit<DeadLetter, 'position'>) };
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

  /** How many dead letters of a partition there are from `offset` on. */
  countOfPartition(partition: PartitionKey, offset: number): number {
    return this.table.countOfRange(boundsOf(partition, offset));
  }

  count(): number {
    return this.table.count();
  }
}

function letterOf({ key, value }: { key: SourcePosition; value: Buffer }): DeadLetter {
  return { position: key, ...(unpack(value) as Omit<DeadLetter, 'position'>) };
}

function boundsOf({ source, topic, partition }: PartitionKey, offset: number) {
  const at = { source, topic, partition };
  const end = { ...at, offset: Number.MAX_SAFE_INTEGER };
  return { start: { ...at, offset }, end, inclusiveEnd: true };
}
