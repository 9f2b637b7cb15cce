import type { Store } from '../../store/store.ts';
import type { AskedRevisions, JoinPlan } from '../join/plan.ts';
import type { PieceLimits } from '../spine/records.ts';
import type { RunWindows } from './job.ts';
import type { ExportRecord, ExportSpine } from './record.ts';

export interface ExportSettings {
  /** How many run at once. */
  concurrent: number;
  /** How many may wait beside them. */
  queued: number;
  keep_seconds: number;
  spine_bytes: number;
}

/** What exports need of the rest of the process. */
export interface Needs {
  /** The folder of all exports; made with the first of them. */
  root: string;
  store: Store;
  runWindows: RunWindows;
  settings: ExportSettings;
  limitsOf: (plan: AskedExport['plan']) => PieceLimits;
  random: () => number;
  /** µs since any moment, however the clock is set. */
  passed: () => number;
  log: Record<'info' | 'warn' | 'error', (what: object, message: string) => void>;
}

/** What is asked for, resolved. */
export interface AskedExport {
  plan: Omit<JoinPlan, 'revisions'>;
  vectorFormat: ExportRecord['vectorFormat'];
  rows: AskedRows;
}

/** What the rows are made of: a spine that is sent, a file on our own disk, or revisions. */
export type AskedRows =
  | (SpinePlace & Pick<ExportSpine, 'format' | 'columnTypes'>)
  | { revisions: Pick<AskedRevisions, 'from' | 'to'> };

type SpinePlace =
  | { body: AsyncIterable<Uint8Array> }
  | { path: string; bytes: number; modified: number };

/** An export as it is now. */
export interface ExportStatus {
  record: Readonly<ExportRecord>;
  /** Of what this process has done of it while it runs; undefined before there is any of it. */
  rowsPerSecond: number | undefined;
}
