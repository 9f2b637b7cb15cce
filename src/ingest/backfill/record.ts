import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import type { Micros } from '../../ground/time.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import type { Made } from '../kafka/destination.ts';
import type { PipelineCounts } from '../pipeline.ts';

/** What becomes of a backfill. The last three are ends. */
type BackfillState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

/** Where a row of a file has what: names of columns. One of text, fields and vector, or deleted. */
export interface FileColumns {
  entity_id: string;
  event_timestamp: string;
  /** The event time where it is left out. */
  known_timestamp?: string | undefined;
  text?: string | undefined;
  /** By field of the prompt. */
  fields?: Readonly<Record<string, string>> | undefined;
  vector?: string | undefined;
  /** True in rows that are tombstones. */
  deleted?: string | undefined;
}

/** A file on our own disk, as it was when it was asked for: another file has other rows. */
export interface FileOrigin {
  kind: 'file';
  path: string;
  format: 'ndjson' | 'parquet';
  bytes: number;
  /** When it was last written, ms. */
  modified: number;
  columns: FileColumns;
}

/** The kept inputs of another version of the view, up to a seq. */
export interface InputsOrigin {
  kind: 'inputs';
  version: string;
  made: Made;
  upTo: number;
}

/** The topics of a configured source, up to where its live reader began. */
export interface SourceOrigin {
  kind: 'source';
  name: string;
  /** Known once the brokers were asked. */
  parts?: { topic: string; partition: number; from: number; end: number }[];
}

type Origin = FileOrigin | InputsOrigin | SourceOrigin;

/** An origin as it is asked for. */
export type AskedOrigin =
  | FileOrigin
  | Pick<InputsOrigin, 'kind' | 'version'>
  | Pick<SourceOrigin, 'kind' | 'name'>;

/** What became of the events so far. */
export interface BackfillCounts {
  read: number;
  stored: number;
  duplicate: number;
  erased: number;
  /** They cannot become revisions. */
  rejected: number;
  /** Outside of the window, of other entities, or of no interest beside others. */
  skipped: number;
}

/** An event that cannot become a revision, by where it stands, and why. */
export interface RejectedEvent {
  topic: string;
  partition: number;
  offset: number;
  code: string;
  message: string;
}

/** What a backfill is, as its folder has it. Times in µs. */
export interface BackfillRecord {
  id: string;
  state: BackfillState;
  created: Micros;
  started?: Micros;
  ended?: Micros;
  view: string;
  version: string;
  made: Made;
  from: Origin;
  /** Event times: the least, and the one that is too late. */
  window: { from?: number | undefined; to?: number | undefined };
  /** How many entities it is limited to; they stand in a file of their own. */
  entities?: number | undefined;
  /** Events that there are, once they are counted. */
  total?: number;
  counts: BackfillCounts;
  /** Up to where they count what is not read by offsets of Kafka, and a snapshot that has it. */
  counted?: { next: number; snapshot: number };
  inputs: PipelineCounts;
  /** The first of them. */
  rejected: RejectedEvent[];
  failure?: { code: ErrorCode; message: string };
}

export function newCounts(): Pick<BackfillRecord, 'counts' | 'inputs' | 'rejected'> {
  return {
    counts: { read: 0, stored: 0, duplicate: 0, erased: 0, rejected: 0, skipped: 0 },
    inputs: { embedded: 0, pooled: 0, repeated: 0, rejected: 0 },
    rejected: [],
  };
}

export function hasEnded({ state }: BackfillRecord): boolean {
  return state !== 'queued' && state !== 'running';
}

export function madeOf({ created_timestamp, created_seq }: ModelVersion): Made {
  return { created_timestamp, ...(created_seq !== undefined && { created_seq }) };
}

/** What its events are from, among the offsets and in the log: no source has such a name. */
export function sourceOf({ id }: Pick<BackfillRecord, 'id'>): string {
  return `backfill/${id}`;
}

export function encodeRecord(record: BackfillRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`;
}

/** Throws STORE_CORRUPT for what `encodeRecord` cannot have made. */
export function parseRecord(text: string, where: string): BackfillRecord {
  try {
    return JSON.parse(text) as BackfillRecord;
  } catch (error) {
    throw new TidemarkError('STORE_CORRUPT', `${where} is not as it was written`, { cause: error });
  }
}

const ID_RANDOM = 2 ** 32;

/** A name by which backfills sort in the order of their making, and that is fine in a path. */
export function newBackfillId(now: Micros, random: () => number): string {
  const time = new Date(now / 1_000).toISOString().replaceAll(/[-:.]/g, '');
  const chance = Math.floor(random() * ID_RANDOM);
  return `${time}-${chance.toString(16).padStart(8, '0')}`;
}
