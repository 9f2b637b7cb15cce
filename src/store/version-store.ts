import { ChangeLog } from './change-log.ts';
import { DeadLetters } from './dead-letters.ts';
import { type Dtype, vectorBytes } from './dtype.ts';
import { Environment, type Table } from './environment.ts';
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

const COUNTERS_KEY = 'counters';

/** The environment of one model version, and the databases in it. */
export class VersionStore {
  readonly environment: Environment;
  readonly timelines: Timelines;
  readonly vectors: VectorPool;
  readonly inputs: Inputs;
  readonly log: ChangeLog;
  readonly deadLetters: DeadLetters;
  readonly offsets: Offsets;
  private meta: Table<string>;

  constructor(folder: string, dim: number, dtype: Dtype) {
    this.environment = new Environment(folder);
    this.timelines = new Timelines(this.environment);
    this.vectors = new VectorPool(this.environment, vectorBytes(dim, dtype));
    this.inputs = new Inputs(this.environment);
    this.log = new ChangeLog(this.environment);
    this.deadLetters = new DeadLetters(this.environment);
    this.offsets = new Offsets(this.environment);
    this.meta = this.environment.table('meta', textKeys);
  }

  counters(): Counters {
    const value = this.meta.getBinary(COUNTERS_KEY);
    const cells = value ? new Float64Array(new Uint8Array(value).buffer) : new Float64Array(4);
    const [nextVectorId, lastCreated, revisions, entities] = cells as unknown as [
      number,
      number,
      number,
      number,
    ];
    return { nextVectorId, lastCreated, revisions, entities };
  }

  /** Within a commit. */
  putCounters(counters: Counters): void {
    const { nextVectorId, lastCreated, revisions, entities } = counters;
    const cells = new Float64Array([nextVectorId, lastCreated, revisions, entities]);
    void this.meta.put(COUNTERS_KEY, new Uint8Array(cells.buffer));
  }

  async close(): Promise<void> {
    await this.environment.close();
  }
}
