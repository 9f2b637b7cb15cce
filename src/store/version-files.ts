import { ChangeLog } from './change-log.ts';
import { CheckedTable } from './checked-table.ts';
import { DeadLetters } from './dead-letters.ts';
import { type Dtype, vectorBytes } from './dtype.ts';
import { Environment } from './environment.ts';
import { Fields } from './fields.ts';
import { Inputs } from './inputs.ts';
import { textKeys } from './keys.ts';
import { Offsets } from './offsets.ts';
import { Timelines } from './timelines.ts';
import { VectorPool } from './vectors.ts';

/** What a model version counts on; committed with the rows that moved it. */
export interface Counters {
  nextVectorId: number;
  /** The greatest created time committed here, µs. */
  lastCreated: number;
  /** Revisions and tombstones stored, confirmations included. */
  revisions: number;
  entities: number;
}

/** The names of a version's databases. */
export const TABLES = [
  'timeline',
  'vector',
  'input',
  'field',
  'log',
  'dead_letter',
  'offset',
  'meta',
];

const COUNTERS_KEY = 'counters';
const ERASED_KEY = 'erased';

/** One generation of a model version's files: an environment, and the databases in it. */
export class VersionFiles {
  readonly environment: Environment;
  readonly timelines: Timelines;
  readonly vectors: VectorPool;
  readonly inputs: Inputs;
  readonly fields: Fields;
  readonly log: ChangeLog;
  readonly deadLetters: DeadLetters;
  readonly offsets: Offsets;
  private meta: CheckedTable<string>;

  constructor(folder: string, dim: number, dtype: Dtype, mode?: 'read-only') {
    this.environment = new Environment(folder, mode);
    this.timelines = new Timelines(this.environment);
    this.vectors = new VectorPool(this.environment, vectorBytes(dim, dtype));
    this.inputs = new Inputs(this.environment);
    this.fields = new Fields(this.environment);
    this.log = new ChangeLog(this.environment);
    this.deadLetters = new DeadLetters(this.environment);
    this.offsets = new Offsets(this.environment);
    this.meta = new CheckedTable(this.environment, 'meta', textKeys);
  }

  counters(): Counters {
    const [nextVectorId = 0, lastCreated = 0, revisions = 0, entities = 0] =
      this.numbers(COUNTERS_KEY);
    return { nextVectorId, lastCreated, revisions, entities };
  }

  /** Within a commit. */
  putCounters({ nextVectorId, lastCreated, revisions, entities }: Counters): void {
    this.putNumbers(COUNTERS_KEY, [nextVectorId, lastCreated, revisions, entities]);
  }

  /** The seq of the last erasure that nothing is left of in these files' databases (A8). */
  erasedUpTo(): number {
    return this.numbers(ERASED_KEY)[0] ?? 0;
  }

  /** Within a commit. */
  putErasedUpTo(seq: number): void {
    this.putNumbers(ERASED_KEY, [seq]);
  }

  /** Throws STORE_CORRUPT where a counter is not as it was written. */
  checkCounters(): void {
    this.meta.range({ start: undefined });
  }

  async close(): Promise<void> {
    await this.environment.close();
  }

  private numbers(key: string): number[] {
    const value = this.meta.get(key);
    return value ? [...new Float64Array(new Uint8Array(value).buffer)] : [];
  }

  private putNumbers(key: string, numbers: readonly number[]): void {
    this.meta.put(key, new Uint8Array(new Float64Array(numbers).buffer));
  }
}
