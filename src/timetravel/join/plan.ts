import type { Dtype } from '../../store/dtype.ts';
import type { AnswerFormat } from '../formats/answer.ts';
import type { Question } from '../question.ts';

/** One model version that a spine is joined to. */
export interface JoinRef {
  /** What its columns are called by: `<name>__vector` and so on. */
  name: string;
  view: string;
  /** With `reigns`: that of the last. */
  version: string;
  dim: number;
  dtype: Dtype;
  /** The spine's column with the entity's id, or that of the answer where there is no spine. */
  idColumn: string;
  /** How old an answer may be, µs; `ANY_AGE` where there is no limit (A6). */
  maxAge: number;
  /**
   * Rows are answered each by the version that was `current` at its moment, which these tell,
   * ascending; undefined: all by `version`.
   */
  reigns?: readonly Reign[];
}

/** One version of a view, from when on it was its `current` one. */
export interface Reign {
  /** µs; of the first it is the beginning of time. */
  from: number;
  version: string;
  /** Its vectors are gone; another version may have its name. */
  isRetired: boolean;
}

/** The versions that answer a reference's rows, each once. */
export function versionsOf({ version, reigns }: Pick<JoinRef, 'version' | 'reigns'>): string[] {
  return reigns === undefined ? [version] : liveOf(reigns);
}

/** The same of reigns alone: retired versions answer none. */
export function liveOf(reigns: readonly Reign[]): string[] {
  return namesOf(reigns.filter(({ isRetired }) => !isRetired));
}

/** The names of the versions, each once, in the order of their first reigns. */
export function namesOf(reigns: readonly Reign[]): string[] {
  return [...new Set(reigns.map(({ version }) => version))];
}

/** Each vector beside its row, or a row number into a table that has each distinct vector once. */
export const VECTORS = ['inline', 'ref'] as const;
export type Vectors = (typeof VECTORS)[number];

/** The order of the rows of a part: the spine's, or by entity with the row number beside. */
export const ORDERS = ['spine', 'entity'] as const;
export type Order = (typeof ORDERS)[number];

/** Instead of a spine: the revisions of the one reference themselves, with tombstones. */
export interface AskedRevisions {
  /** Least event time, and the first one that is too late, µs. */
  from: number;
  to: number;
  /** So many at a time, and so many a part. */
  rowsMax: number;
}

/** A training join, resolved: nothing is left to a default. It can be cloned to a worker. */
export interface JoinPlan {
  /** Undefined: a spine is joined. */
  revisions?: AskedRevisions;
  refs: readonly JoinRef[];
  /** Each row has its own moment, each reference its age. */
  question: Omit<Question, 'asOf' | 'maxAge'>;
  /** The spine's column with the moment of the row. */
  timeColumn: string;
  /** Times of the winner beside its event time. */
  columns: { known: boolean; created: boolean };
  vectors: Vectors;
  order: Order;
  format: AnswerFormat;
  /** Refuse the join at the first row that is INVALID, rather than mark it. */
  strict: boolean;
}
