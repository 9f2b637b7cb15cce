import type { ModelVersion } from './catalogue.ts';
import { ChangeLog } from './change-log.ts';
import { CheckedTable } from './checked-table.ts';
import { DeadLetters } from './dead-letters.ts';
import { vectorBytes } from './dtype.ts';
import { Environment } from './environment.ts';
import { Fields } from './fields.ts';
import { Inputs } from './inputs.ts';
import { textKeys } from './keys.ts';
import { Offsets } from './offsets.ts';
import type { ResidentMemory } from './resident-budget.ts';
import { ResidentHeads } from './resident-heads.ts';
import { ResidentVectors } from './resident-vectors.ts';
import { keepsInputs, Texts } from './texts.ts';
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

const TABLES = ['timeline', 'vector', 'input', 'field', 'log', 'dead_letter', 'offset', 'meta'];

/** What of a model version decides how its files are laid out. */
export type FilesLayout = Pick<ModelVersion, 'dim' | 'dtype' | 'model'>;

/** The names of a version's databases. */
export function tablesOf(version: FilesLayout): string[] {
  return keepsInputs(version) ? [...TABLES, 'text'] : TABLES;
}

const COUNTERS_KEY = 'counters';
const ERASED_KEY = 'erased';

/** How files are opened. */
export interface FilesOptions {
  mode?: 'read-only';
  /** Where lookups find again what they have read; without it each of them reads the file. */
  memory?: ResidentMemory | undefined;
}

/** One generation of a model version's files: an environment, and the databases in it. */
export class VersionFiles {
  readonly environment: Environment;
  readonly memory: ResidentMemory | undefined;
  readonly timelines: Timelines;
  readonly vectors: VectorPool;
  readonly inputs: Inputs;
  /** Of versions that keep their inputs. */
  readonly texts: Texts | undefined;
  readonly fields: Fields;
  readonly log: ChangeLog;
  readonly deadLetters: DeadLetters;
  readonly offsets: Offsets;
  private meta: CheckedTable<string>;
  private resident: { close: () => void }[] = [];

  constructor(folder: string, version: FilesLayout, { mode, memory }: FilesOptions = {}) {
    this.environment = new Environment(folder, mode);
    const bytes = vectorBytes(version.dim, version.dtype);
    const heads = memory && new ResidentHeads(memory.heads);
    const vectors = memory && residentVectors(bytes, memory);
    this.memory = memory;
    if (heads !== undefined) this.resident.push(heads);
    if (vectors !== undefined) this.resident.push(vectors);
    this.timelines = new Timelines(this.environment, heads);
    this.vectors = new VectorPool(this.environment, bytes, vectors);
    this.inputs = new Inputs(this.environment);
    this.texts = keepsInputs(version) ? new Texts(this.environment) : undefined;
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
    for (const each of this.resident) each.close();
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

/** None where the process may not reserve so much address space: lookups then read the file. */
function residentVectors(bytes: number, { vectors }: ResidentMemory): ResidentVectors | undefined {
  try {
    return new ResidentVectors(bytes, vectors);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
