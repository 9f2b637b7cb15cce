import { formatDuration } from '../../ground/duration.ts';
import { formatInstant, type Micros } from '../../ground/time.ts';
import type { Dtype } from '../../store/dtype.ts';
import type { Boundary, Knowledge } from '../question.ts';
import { ANY_AGE } from '../question.ts';
import { NOT_YET_KNOWN, REASONS, STATUSES, VERSION_RETIRED } from '../status.ts';
import { type JoinPlan, type JoinRef, namesOf } from './plan.ts';
import type { InvalidRow, RefCounts } from './window-done.ts';

/** What is told of the whole of a join, behind its rows. */
export interface JoinSummary {
  rows: number;
  snapshot: number;
  question: {
    boundary: Boundary;
    knowledge: Knowledge;
    known_at: string | null;
    alias_as_of?: true;
  };
  /** By the names of the references. */
  feature_views: Record<string, RefSummary>;
  /** The first of the rows that are INVALID, where there are any. */
  invalid?: InvalidRow[];
  /** What to do about rows that have no vector, where something can be done. */
  notes?: string[];
}

interface RefSummary {
  feature_view: string;
  /** Null where each row has that of its moment. */
  version: string | null;
  /** Then how many rows have which. */
  versions?: Record<string, number>;
  dim: number;
  dtype: Dtype;
  max_age: string | null;
  statuses: Record<string, number>;
  reasons: Record<string, number>;
}

/** Counts of no rows yet, one for each reference. */
export function noCounts({ refs }: Pick<JoinPlan, 'refs'>): RefCounts[] {
  return refs.map(({ reigns }) => ({
    statuses: new Float64Array(STATUSES.length),
    reasons: new Float64Array(REASONS.length),
    ...(reigns && { versions: new Float64Array(namesOf(reigns).length) }),
  }));
}

/** Adds those of one window. */
export function addCounts(to: readonly RefCounts[], counts: readonly RefCounts[]): void {
  counts.forEach(({ statuses, reasons, versions }, ref) => {
    statuses.forEach((count, status) => (to[ref]!.statuses[status]! += count));
    reasons.forEach((count, reason) => (to[ref]!.reasons[reason]! += count));
    versions?.forEach((count, version) => (to[ref]!.versions![version]! += count));
  });
}

/** How many of the rows that are INVALID are told of: more would say nothing new. */
export const INVALID_SHOWN = 20;

/** The first of them: those of the windows before, then those of the next one. */
export function firstInvalid(
  before: readonly InvalidRow[],
  next: readonly InvalidRow[],
): InvalidRow[] {
  return [...before, ...next].slice(0, INVALID_SHOWN);
}

export function summaryOf(
  { refs, question }: JoinPlan,
  rows: number,
  counts: readonly RefCounts[],
  invalid: readonly InvalidRow[],
): JoinSummary {
  const rowsOf = (reason: number): number =>
    counts.reduce((sum, { reasons }) => sum + reasons[reason]!, 0);
  const [unknown, retired] = [rowsOf(NOT_YET_KNOWN), rowsOf(VERSION_RETIRED)];
  const notes = [
    ...(unknown > 0 ? [remedyOf(question, unknown)] : []),
    ...(retired > 0 ? [retiredNote(retired)] : []),
  ];
  return {
    rows,
    snapshot: question.snapshot,
    question: {
      boundary: question.boundary,
      knowledge: question.knowledge,
      known_at: question.knownAt === undefined ? null : formatInstant(question.knownAt as Micros),
      ...(refs.some(({ reigns }) => reigns !== undefined) && { alias_as_of: true }),
    },
    feature_views: Object.fromEntries(
      refs.map((ref, at): [string, RefSummary] => [ref.name, refSummary(ref, counts[at]!)]),
    ),
    ...(invalid.length > 0 && { invalid: [...invalid] }),
    ...(notes.length > 0 && { notes }),
  };
}

function refSummary(
  { view, version, dim, dtype, maxAge, reigns }: JoinRef,
  { statuses, reasons, versions }: RefCounts,
): RefSummary {
  return {
    feature_view: view,
    ...(reigns === undefined
      ? { version }
      : { version: null, versions: counted(namesOf(reigns), versions!) }),
    dim,
    dtype,
    max_age: maxAge === ANY_AGE ? null : formatDuration(maxAge),
    statuses: counted(STATUSES, statuses),
    reasons: counted(REASONS, reasons),
  };
}

function counted(names: readonly (string | null)[], counts: Float64Array): Record<string, number> {
  const pairs = names.flatMap((name, at): [string, number][] =>
    name !== null && counts[at]! > 0 ? [[name, counts[at]!]] : [],
  );
  return Object.fromEntries(pairs);
}

/** What to do about rows whose version is gone. */
function retiredNote(rows: number): string {
  const what = rows === 1 ? 'row is of a moment' : 'rows are of moments';
  return `${rows} ${what} whose version is retired: to have vectors for all rows, name one version`;
}

/** What to do about rows that exist but were not known in time (A5). */
function remedyOf({ knowledge, knownAt }: JoinPlan['question'], rows: number): string {
  const what = `${rows} ${rows === 1 ? 'row has' : 'rows have'} an embedding in time that was not known by then`;
  // Of all times then nothing but this one has a bound.
  if (knowledge === 'event') return `${what}: name a later known_at, or leave it out`;
  const remedy =
    knowledge === 'served'
      ? 'knowledge=input also counts what was computed later from inputs known in time'
      : 'if the data was loaded late, push it with known="event" or with its own ' +
        'known_timestamp, or join with knowledge=event and take the leakage into account';
  return `${what}; ${remedy}${knownAt === undefined ? '' : '; known_at bounds it, too'}`;
}
