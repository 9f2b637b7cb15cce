import type { ErrorCode } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { FileColumns } from './schemas/backfills.ts';

/** What is asked to be filled, and from where. Times in µs. */
export interface AskedBackfill {
  view: string;
  version: string;
  from:
    | { kind: 'inputs'; version: string }
    | { kind: 'source'; name: string }
    | {
        kind: 'file';
        path: string;
        format: 'ndjson' | 'parquet';
        bytes: number;
        modified: number;
        columns: FileColumns;
      };
  /** Event times: the least, and the one that is too late. */
  window: { from?: number | undefined; to?: number | undefined };
  entities?: readonly string[] | undefined;
}

/** A backfill as it is now. */
export interface BackfillTold {
  record: {
    id: string;
    state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
    created: Micros;
    started?: Micros;
    ended?: Micros;
    view: string;
    version: string;
    from:
      | { kind: 'inputs'; version: string }
      | { kind: 'source'; name: string }
      | { kind: 'file'; path: string };
    window: AskedBackfill['window'];
    entities?: number | undefined;
    total?: number;
    counts: {
      read: number;
      stored: number;
      duplicate: number;
      erased: number;
      rejected: number;
      skipped: number;
    };
    inputs: { embedded: number; pooled: number; repeated: number };
    rejected: readonly {
      topic: string;
      partition: number;
      offset: number;
      code: string;
      message: string;
    }[];
    failure?: { code: ErrorCode; message: string };
  };
  eventsPerSecond: number | undefined;
  trouble: string | undefined;
}

export interface PlanTold {
  events: number;
  wanted: number;
  deletes: number;
  rejected: number;
  erased: number;
  distinctInputs: number;
  pooledInputs: number;
  tokens: number;
  sampledInputs: number;
  tokensPerSecond: number | undefined;
  deviceSeconds: number;
  bytes: number;
  seconds: number;
  ends: Micros;
  isExact: boolean;
}

/** What fills model versions from the history of their sources. */
export interface Backfilling {
  /** Durable when it resolves. */
  submit(asked: AskedBackfill): Promise<BackfillTold>;
  /** What it would do; nothing is stored. */
  plan(asked: AskedBackfill, signal: AbortSignal): Promise<PlanTold>;
  /** The newest first, those asked for before `before`. */
  list(limit: number, before: string | undefined): BackfillTold[];
  /** Throws BACKFILL_NOT_FOUND. */
  mustGet(id: string): BackfillTold;
  /** Cancels one that has not ended, forgets one that has. */
  remove(id: string): Promise<BackfillTold>;
}
