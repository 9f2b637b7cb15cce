import { TidemarkError, type ErrorCode } from '../../ground/errors.ts';
import type { Micros } from '../../ground/time.ts';
import type { JoinPlan } from '../join/plan.ts';
import type { InvalidRow, RefCounts } from '../join/window-done.ts';
import { ANY_AGE } from '../question.ts';
import type { PieceLimits } from '../spine/records.ts';
import type { SpineFormat, TextColumn } from '../spine/window.ts';

/** What becomes of an export. The last four are ends, and only `done` and `expired` were whole. */
export const EXPORT_STATES = [
  'queued',
  'running',
  'done',
  'failed',
  'cancelled',
  'expired',
] as const;
type ExportState = (typeof EXPORT_STATES)[number];

/** What tables of vectors are written as, where they stand apart from the rows. */
export const VECTOR_FORMATS = ['safetensors', 'arrow', 'parquet'] as const;
type VectorFormat = (typeof VECTOR_FORMATS)[number];

export interface ExportSpine {
  /** Undefined: it was uploaded, and lies in the export's own folder until that ends. */
  path: string | undefined;
  format: SpineFormat;
  bytes: number;
  /** Of a file that is not ours: when it was last written, ms. Another file has other rows. */
  modified: number | undefined;
  columnTypes: Record<string, TextColumn['type']>;
}

/** What an export is, as its folder has it. Times in µs. */
export interface ExportRecord {
  id: string;
  state: ExportState;
  created: Micros;
  started?: Micros;
  ended?: Micros;
  plan: JoinPlan;
  vectorFormat: VectorFormat;
  /** When each version that is asked was made: another may have its name by now. */
  made: number[];
  /** Undefined: the plan asks for revisions. */
  spine?: ExportSpine;
  /** How large the pieces of the spine are: an export goes on with those that it began with. */
  limits: PieceLimits;
  /** Rows of the spine, where its format tells before it is read. */
  rowsTotal?: number;
  failure?: { code: ErrorCode; message: string };
  /** Kept up to date in memory; on the disk, as it was when the state last changed. */
  done: ExportTotals;
}

export interface ExportTotals {
  rows: number;
  bytes: number;
  /** Parts, and tables of vectors. */
  files: number;
  counts: RefCounts[];
  /** The first of them. */
  invalid: InvalidRow[];
}

export function hasEnded({ state }: ExportRecord): boolean {
  return state !== 'queued' && state !== 'running';
}

export function encodeRecord(record: ExportRecord): string {
  const done = { ...record.done, counts: record.done.counts.map(encodeCounts) };
  return `${JSON.stringify({ ...record, done }, undefined, 2)}\n`;
}

/** Throws STORE_CORRUPT for what `encodeRecord` cannot have made. */
export function parseRecord(text: string, where: string): ExportRecord {
  try {
    const record = JSON.parse(text) as ExportRecord;
    const { plan, done } = record;
    // JSON has no infinity: any age is written as null.
    const refs = plan.refs.map((ref) => ({ ...ref, maxAge: ref.maxAge ?? ANY_AGE }));
    const counts = done.counts.map(parseCounts);
    return { ...record, plan: { ...plan, refs }, done: { ...done, counts } };
  } catch (error) {
    throw new TidemarkError('STORE_CORRUPT', `${where} is not as it was written`, { cause: error });
  }
}

/** Counts as JSON has them, and back: arrays of typed numbers would come out as objects. */
export function encodeCounts({ statuses, reasons, versions }: RefCounts): object {
  return {
    statuses: [...statuses],
    reasons: [...reasons],
    ...(versions && { versions: [...versions] }),
  };
}

export function parseCounts({ statuses, reasons, versions }: RefCounts): RefCounts {
  return {
    statuses: Float64Array.from(statuses),
    reasons: Float64Array.from(reasons),
    ...(versions && { versions: Float64Array.from(versions) }),
  };
}

const ID_RANDOM = 2 ** 32;

/** Whether `newExportId` can have made it. */
export function isExportId(text: string): boolean {
  return /^\d{8}T\d{9}Z-[\da-f]{8}$/.test(text);
}

/** A name by which exports sort in the order of their making, and that is fine in a path. */
export function newExportId(now: Micros, random: () => number): string {
  const time = new Date(now / 1_000).toISOString().replaceAll(/[-:.]/g, '');
  const chance = Math.floor(random() * ID_RANDOM);
  return `${time}-${chance.toString(16).padStart(8, '0')}`;
}
