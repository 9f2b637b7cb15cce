import { pack, unpack } from 'msgpackr';

import type { DeadLetter } from './batch.ts';
import type { Environment, Table } from './environment.ts';
import { positionKeys, type SourcePosition } from './keys.ts';

/** Records that could not become revisions, by where they stood in their source. */
export class DeadLetters {
  private table: Table<SourcePosition>;

  constructor(environment: Environment) {
    this.table = environment.table('dead_letter', positionKeys);
  }

  /** Within a commit. The same position again replaces what was there: a replay adds nothing. */
  put({ position, ...letter }: DeadLetter): void {
    void this.table.put(position, pack(letter));
  }

  /** Up to `limit` dead letters, in the order of their positions, after `after`. */
  list(limit: number, after?: SourcePosition): DeadLetter[] {
    const range = this.table.getRange({ start: after, exclusiveStart: after !== undefined, limit });
    return Array.from(range, ({ key, value }) => {
      const letter = unpack(value) as Omit<DeadLetter, 'position'>;
      return { position: key, ...letter };
    });
  }

  count(): number {
    return (this.table.getStats() as { entryCount: number }).entryCount;
  }
}
