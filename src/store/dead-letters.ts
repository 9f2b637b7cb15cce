import { pack, unpack } from 'msgpackr';

import type { DeadLetter } from './batch.ts';
import { countOf, type Environment, type Table } from './environment.ts';
import { positionKeys, type SourcePosition } from './keys.ts';

/** Records that could not become revisions, by where they stood in their source. */
export class DeadLetters {
  /** Positions put while somebody copies the letters, who must not miss them. */
  journal: SourcePosition[] | undefined;
  private table: Table<SourcePosition>;

  constructor(environment: Environment) {
    this.table = environment.table('dead_letter', positionKeys);
  }

  /** Within a commit. The same position again replaces what was there: a replay adds nothing. */
  put({ position, ...letter }: DeadLetter): void {
    void this.table.put(position, pack(letter));
    this.journal?.push(position);
  }

  get(position: SourcePosition): DeadLetter | undefined {
    const value = this.table.getBinary(position);
    return value && { position, ...(unpack(value) as Omit<DeadLetter, 'position'>) };
  }

  /** Within a commit. */
  remove(position: SourcePosition): void {
    void this.table.remove(position);
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
    return countOf(this.table);
  }
}
