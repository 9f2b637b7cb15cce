import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros, parseInstant } from '../ground/time.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { type Dtype, numbersOf, vectorBytes } from '../store/dtype.ts';
import { parseEntityId } from '../store/entity-id.ts';
import type { Store } from '../store/store.ts';
import type { VersionStore } from '../store/version-store.ts';
import { type Line, parseObject, readLines } from './formats/ndjson.ts';
import { gather, resolveSpine } from './lookup.ts';
import { ANY_AGE, type Question } from './question.ts';
import type { Resolution } from './resolve.ts';
import * as code from './status.ts';
import { REASONS, STATUSES } from './status.ts';

/** One model version that a spine is joined to. */
export interface JoinRef {
  /** What its columns are called by: `<name>__vector` and so on. */
  name: string;
  view: FeatureView;
  version: ModelVersion;
  /** The spine's column with the entity's id. */
  idColumn: string;
  /** How old an answer may be, µs; `ANY_AGE` where there is no limit (A6). */
  maxAge: number;
}

/** A training join, resolved: nothing is left to a default. */
export interface JoinPlan {
  store: Store;
  refs: readonly JoinRef[];
  /** Its `asOf` and `maxAge` stay undefined: each row has its own moment, each reference its age. */
  question: Omit<Question, 'asOf' | 'maxAge'>;
  /** The spine's column with the moment of the row. */
  timeColumn: string;
  /** Times of the winner beside its event time. */
  columns: { known: boolean; created: boolean };
  lineBytesMax: number;
  /** Refuse the join at the first row that is INVALID, rather than mark it. */
  strict: boolean;
}

/** Vectors are gathered for so many bytes of rows at a time, whatever the spine's length. */
const CHUNK_BYTES = 4 * 2 ** 20;
const CHUNK_ROWS_MAX = 4_096;
const SUMMARY = '__summary';
/** By these readers tell how the answer ended. */
const RESERVED = [SUMMARY, '__error'];

/**
 * Joins a spine in NDJSON to the vectors in force at each row's moment: exactly one line a row, in
 * spine order, every column passed through as it was written (A11), and a last line
 * `{"__summary": …}` without which the answer is not whole.
 *
 * A row whose id or time is not in order is INVALID with its reason; a line that is no JSON object
 * ends the join. Throws BAD_REQUEST, BEFORE_RETENTION, LIMIT_EXCEEDED, NAME_COLLISION, naming the
 * line.
 * Memory is bounded by a chunk of rows. Every chunk is answered at the question's snapshot (A9).
 */
export async function* joinNdjson(
  spine: AsyncIterable<Uint8Array>,
  plan: JoinPlan,
): AsyncGenerator<Buffer> {
  const rowBytes = plan.refs.reduce((sum, { version }) => sum + bytesOf(version), 0);
  const rowsMax = Math.max(1, Math.min(CHUNK_ROWS_MAX, Math.floor(CHUNK_BYTES / rowBytes)));
  const counts = plan.refs.map(() => new Counts());
  const stores = plan.refs.map((ref) => storeOf(plan, ref));
  let lines: Line[] = [];
  let rows = 0;
  const join = () => joinChunk(lines, rows === lines.length, plan, stores, counts);
  for await (const line of readLines(spine, plan.lineBytesMax)) {
    lines.push(line);
    rows++;
    if (lines.length === rowsMax) {
      yield join();
      lines = [];
    }
  }
  if (lines.length > 0) yield join();
  yield Buffer.from(`${JSON.stringify({ [SUMMARY]: summaryOf(plan, rows, counts) })}\n`);
}

function storeOf({ store }: JoinPlan, { view, version }: JoinRef): VersionStore {
  return store.version(view.name, version.version);
}

function bytesOf({ dim, dtype }: ModelVersion): number {
  return vectorBytes(dim, dtype);
}

/** The lines of one chunk, joined: resolve, then gather, for one model version after another. */
function joinChunk(
  lines: readonly Line[],
  isFirst: boolean,
  plan: JoinPlan,
  stores: readonly VersionStore[],
  counts: readonly Counts[],
): Buffer {
  const rows = lines.map(({ bytes, number }) => parseObject(bytes, `line ${number}`));
  if (isFirst) requireColumns(rows, plan);
  const moments = Float64Array.from(rows, (row) => momentOf(row[plan.timeColumn]));
  const parts = lines.map((line, at) => [spineColumns(line, rows[at]!, plan)]);
  plan.refs.forEach((ref, at) => {
    const { version } = ref;
    const store = storeOf(plan, ref);
    if (store !== stores[at]) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the feature view ${ref.view.name} was dropped, and made anew, during the join`,
      );
    }
    const ids = rows.map((row) => idOf(row[ref.idColumn]));
    const resolution = resolveSpine(store, ids, moments, {
      ...plan.question,
      asOf: undefined,
      maxAge: ref.maxAge,
    });
    if (plan.strict) refuseInvalid(resolution, lines, ref, plan);
    const vectors = new Uint8Array(rows.length * bytesOf(version));
    gather(store.vectors, resolution, vectors);
    counts[at]!.add(resolution);
    for (let row = 0; row < rows.length; row++) {
      parts[row]!.push(columnsOf(ref, plan, resolution, row, vectors));
    }
  });
  return Buffer.from(parts.map(lineOf).join(''));
}

/** A column that no row has is a name mistaken, and would make every row INVALID. */
function requireColumns(rows: readonly Record<string, unknown>[], plan: JoinPlan): void {
  for (const column of [plan.timeColumn, ...plan.refs.map(({ idColumn }) => idColumn)]) {
    if (rows.some((row) => Object.hasOwn(row, column))) continue;
    throw new TidemarkError(
      'BAD_REQUEST',
      `none of the first ${rows.length} rows of the spine has the column ${column}; they have ` +
        `${Object.keys(rows[0]!).slice(0, 20).join(', ') || 'none'}: say which one is meant ` +
        'with timestamp_column or id_columns',
    );
  }
}

function lineOf([own, ...added]: string[]): string {
  // An empty object is a row too; there is nothing before its first comma.
  return `${own}${own === '{' ? '' : ','}${added.join(',')}}\n`;
}

/** NaN where the value is no moment: the row is INVALID. */
function momentOf(value: unknown): number {
  if (typeof value !== 'string') return Number.NaN;
  try {
    return parseInstant(value);
  } catch {
    return Number.NaN;
  }
}

/** The empty text, which no entity can be called, where the value is no id: the row is INVALID. */
function idOf(value: unknown): string {
  try {
    return parseEntityId(value);
  } catch {
    return '';
  }
}

/** The row's own columns as they were written, without the closing brace. */
function spineColumns(line: Line, row: Record<string, unknown>, plan: JoinPlan): string {
  for (const column of RESERVED) {
    if (!Object.hasOwn(row, column)) continue;
    throw new TidemarkError(
      'NAME_COLLISION',
      `line ${line.number} has a column ${column}, by which the end of the answer is told; rename it`,
    );
  }
  for (const { name } of plan.refs) {
    for (const column of addedColumns(name, plan)) {
      if (column in row) {
        throw new TidemarkError(
          'NAME_COLLISION',
          `line ${line.number} has a column ${column}, which the join adds; ` +
            `rename the reference, as in other_name=${name}`,
        );
      }
    }
  }
  return line.bytes.toString('utf8').trim().slice(0, -1).trimEnd();
}

/** The columns that a reference adds, in their order. */
function addedColumns(name: string, { columns }: JoinPlan): string[] {
  const times = [
    'event',
    ...(columns.known ? ['known'] : []),
    ...(columns.created ? ['created'] : []),
  ];
  return ['vector', ...times.map((time) => `${time}_timestamp`), 'status', 'reason'].map(
    (column) => `${name}__${column}`,
  );
}

function columnsOf(
  ref: JoinRef,
  plan: JoinPlan,
  resolution: Resolution,
  row: number,
  vectors: Uint8Array,
): string {
  const { dim, dtype } = ref.version;
  const isPresent = resolution.statuses[row] === code.PRESENT;
  const time = (value: number) => (isPresent ? formatInstant(value as Micros) : null);
  const values = [
    isPresent ? vectorOf(vectors, row, dim, dtype) : null,
    time(resolution.events[row]!),
    ...(plan.columns.known ? [time(resolution.knowns[row]!)] : []),
    ...(plan.columns.created ? [time(resolution.createds[row]!)] : []),
    STATUSES[resolution.statuses[row]!],
    REASONS[resolution.reasons[row]!],
  ];
  return addedColumns(ref.name, plan)
    .map((column, at) => `${JSON.stringify(column)}:${JSON.stringify(values[at])}`)
    .join(',');
}

function vectorOf(vectors: Uint8Array, row: number, dim: number, dtype: Dtype): number[] {
  const bytes = vectorBytes(dim, dtype);
  return Array.from(numbersOf(vectors.subarray(row * bytes, (row + 1) * bytes), dtype));
}

function refuseInvalid(
  { statuses, reasons }: Resolution,
  lines: readonly Line[],
  ref: JoinRef,
  plan: JoinPlan,
): void {
  const at = statuses.indexOf(code.INVALID);
  if (at < 0) return;
  const reason = REASONS[reasons[at]!];
  throw new TidemarkError(
    reasons[at] === code.BEFORE_RETENTION ? 'BEFORE_RETENTION' : 'BAD_REQUEST',
    `line ${lines[at]!.number} is INVALID for ${ref.name}: ${reason}${columnOf(reasons[at]!, ref, plan)}; ` +
      'mend it, or leave out strict to have such rows marked',
  );
}

/** Where in the row to look for what is wrong. */
function columnOf(reason: number, { idColumn }: JoinRef, { timeColumn }: JoinPlan): string {
  if (reason === code.BAD_ENTITY_ID) return ` (its column ${idColumn})`;
  return reason === code.BAD_TIMESTAMP ? ` (its column ${timeColumn})` : '';
}

/** How many rows had which status, and why. */
class Counts {
  private statuses = new Float64Array(STATUSES.length);
  private reasons = new Float64Array(REASONS.length);

  add(resolution: Resolution): void {
    for (const status of resolution.statuses) this.statuses[status]!++;
    for (const reason of resolution.reasons) this.reasons[reason]!++;
  }

  get notYetKnown(): number {
    return this.reasons[code.NOT_YET_KNOWN]!;
  }

  toJSON(): { statuses: Record<string, number>; reasons: Record<string, number> } {
    return {
      statuses: counted(STATUSES, this.statuses),
      reasons: counted(REASONS, this.reasons),
    };
  }
}

function counted(names: readonly (string | null)[], counts: Float64Array): Record<string, number> {
  const pairs = names.flatMap((name, at): [string, number][] =>
    name !== null && counts[at]! > 0 ? [[name, counts[at]!]] : [],
  );
  return Object.fromEntries(pairs);
}

function summaryOf(plan: JoinPlan, rows: number, counts: readonly Counts[]): object {
  const { question } = plan;
  const unknown = counts.reduce((sum, { notYetKnown }) => sum + notYetKnown, 0);
  return {
    rows,
    snapshot: question.snapshot,
    question: {
      boundary: question.boundary,
      knowledge: question.knowledge,
      known_at: question.knownAt === undefined ? null : formatInstant(question.knownAt as Micros),
    },
    feature_views: Object.fromEntries(
      plan.refs.map(({ name, view, version, maxAge }, at) => [
        name,
        {
          feature_view: view.name,
          version: version.version,
          dim: version.dim,
          dtype: version.dtype,
          max_age: maxAge === ANY_AGE ? null : formatDuration(maxAge),
          ...counts[at]!.toJSON(),
        },
      ]),
    ),
    ...(unknown > 0 && { notes: [remedyOf(question, unknown)] }),
  };
}

/** What to do about rows that exist but were not known in time (A5). */
function remedyOf({ knowledge }: JoinPlan['question'], rows: number): string {
  const what = `${rows} rows have an embedding in time that was not known by then`;
  return knowledge === 'served'
    ? `${what}; knowledge=input also counts what was computed later from inputs known in time`
    : `${what}; if the data was loaded late, push it with known="event" or with its own ` +
        'known_timestamp, or join with knowledge=event and take the leakage into account';
}
