import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { numberBytes, numbersOf, vectorBytes } from '../store/dtype.ts';
import type { Store } from '../store/store.ts';
import type { VectorPool } from '../store/vectors.ts';
import type { VersionStore } from '../store/version-store.ts';
import { resolveSpine } from './lookup.ts';
import { ANY_AGE, boundsOf, type Question } from './question.ts';
import { isBeforeHorizon, type Resolution } from './resolve.ts';
import * as code from './status.ts';
import { REASONS, STATUSES } from './status.ts';

/** What is compared: one model version at two moments, nothing left to a default. */
export interface DiffPlan {
  store: Store;
  view: FeatureView;
  version: ModelVersion;
  /** µs. */
  from: Micros;
  to: Micros;
  /** Its `asOf` stays undefined: it is asked of both moments. */
  question: Omit<Question, 'asOf'>;
  /** A vector that moved less, as 1 − the cosine similarity, is counted and not shown. */
  minDistance: number;
}

/** Entities are compared for so many bytes of vectors at a time: then others have a turn. */
const PAGE_BYTES = 2 ** 19;
const PAGE_ROWS_MAX = 128;

/** How the compared entities are: those that have a vector at one of the moments at least. */
interface Counts {
  entities: number;
  added: number;
  removed: number;
  changed: number;
  below_min_distance: number;
  unchanged: number;
}

/**
 * The entities whose vectors differ between two moments, one line each in the order of their ids,
 * and a last line `{"__summary": …}` without which the answer is not whole. A confirmation, or the
 * same vector anew, is no change.
 *
 * Memory is bounded by a page of entities, and all pages are of one snapshot (A9). A piece may be
 * empty: whoever reads can stop there.
 * Throws BEFORE_RETENTION when a moment lies before the horizon (A10), even if it comes to that only on
 * the way.
 */
export async function* diffNdjson(plan: DiffPlan): AsyncGenerator<Buffer> {
  const { dim, dtype } = plan.version;
  const bytes = vectorBytes(dim, dtype);
  const rows = Math.max(1, Math.min(PAGE_ROWS_MAX, Math.floor(PAGE_BYTES / bytes)));
  const pair = new VectorPair(plan.version);
  const froms = new Float64Array(rows).fill(plan.from);
  const tos = new Float64Array(rows).fill(plan.to);
  const counts: Counts = {
    entities: 0,
    added: 0,
    removed: 0,
    changed: 0,
    below_min_distance: 0,
    unchanged: 0,
  };
  const opened = storeOf(plan);
  const pace = new Pace();
  let after: string | undefined;
  for (;;) {
    if (storeOf(plan) !== opened) throw dropped(plan);
    refuseBeforeHorizon(plan, opened);
    const ids = opened.timelines.ids(after, rows);
    if (ids.length === 0) break;
    const question = { ...plan.question, asOf: undefined };
    const from = resolveSpine(opened, ids, froms.subarray(0, ids.length), question);
    const to = resolveSpine(opened, ids, tos.subarray(0, ids.length), question);
    const lines: string[] = [];
    for (let row = 0; row < ids.length; row++) {
      const change = changeOf(row, from, to, pair, opened.vectors);
      if (change === undefined) continue;
      counts.entities++;
      if (change === 'unchanged') {
        counts.unchanged++;
        continue;
      }
      counts[change]++;
      const similarity = change === 'changed' ? pair.cosine() : null;
      if (similarity !== null && 1 - similarity < plan.minDistance) counts.below_min_distance++;
      else lines.push(lineOf(ids[row]!, change, similarity, row, from, to));
    }
    yield Buffer.from(lines.join(''));
    after = ids.at(-1);
    await pace.rest();
  }
  yield Buffer.from(`${JSON.stringify({ __summary: summaryOf(plan, counts) })}\n`);
}

type Change = 'added' | 'removed' | 'changed';

/** What became of the row's vector; undefined when there is none at either moment. */
function changeOf(
  row: number,
  from: Resolution,
  to: Resolution,
  pair: VectorPair,
  vectors: VectorPool,
): Change | 'unchanged' | undefined {
  const isFrom = from.statuses[row] === code.PRESENT;
  const isTo = to.statuses[row] === code.PRESENT;
  if (!isFrom) return isTo ? 'added' : undefined;
  if (!isTo) return 'removed';
  const [idFrom, idTo] = [from.vectorIds[row]!, to.vectorIds[row]!];
  if (idFrom === idTo) return 'unchanged';
  pair.gather(vectors, idFrom, idTo);
  return pair.isEqual() ? 'unchanged' : 'changed';
}

/** Room for two vectors, used again for every pair. */
class VectorPair {
  private bytes: readonly [Uint8Array, Uint8Array];
  private numbers: readonly [ArrayLike<number>, ArrayLike<number>];

  constructor({ dim, dtype }: ModelVersion) {
    const size = vectorBytes(dim, dtype);
    this.bytes = [new Uint8Array(size), new Uint8Array(size)];
    const end = numberBytes(dim, dtype);
    const [from, to] = this.bytes;
    this.numbers = [numbersOf(from.subarray(0, end), dtype), numbersOf(to.subarray(0, end), dtype)];
  }

  gather(vectors: VectorPool, first: number, second: number): void {
    vectors.copyInto(first, this.bytes[0], 0);
    vectors.copyInto(second, this.bytes[1], 0);
  }

  isEqual(): boolean {
    return Buffer.compare(this.bytes[0], this.bytes[1]) === 0;
  }

  /** The cosine of the angle between them, which no scale moves, in float64; null where one is all zeros and has none. */
  cosine(): number | null {
    const [a, b] = this.numbers;
    let dot = 0;
    let squaresA = 0;
    let squaresB = 0;
    for (let at = 0; at < a.length; at++) {
      const x = a[at]!;
      const y = b[at]!;
      dot += x * y;
      squaresA += x * x;
      squaresB += y * y;
    }
    if (squaresA === 0 || squaresB === 0) return null;
    // Rounding may carry it a little beyond.
    return Math.max(-1, Math.min(1, dot / (Math.sqrt(squaresA) * Math.sqrt(squaresB))));
  }
}

function lineOf(
  id: string,
  change: Change,
  similarity: number | null,
  row: number,
  from: Resolution,
  to: Resolution,
): string {
  const line = {
    entity_id: id,
    change,
    cosine_similarity: similarity,
    from: sideOf(from, row),
    to: sideOf(to, row),
  };
  return `${JSON.stringify(line)}\n`;
}

function sideOf({ statuses, reasons, events }: Resolution, row: number): object {
  const event = events[row]!;
  return {
    status: STATUSES[statuses[row]!],
    reason: REASONS[reasons[row]!],
    event_timestamp: Number.isNaN(event) ? null : formatInstant(event as Micros),
  };
}

function storeOf({ store, view, version }: DiffPlan): VersionStore {
  return store.version(view.name, version.version);
}

function dropped({ view }: DiffPlan): TidemarkError {
  return new TidemarkError(
    'VERSION_NOT_FOUND',
    `the feature view ${view.name} was dropped, and made anew, during the diff`,
  );
}

/** What is gone would look like what was never there. */
function refuseBeforeHorizon({ view, from, to, question }: DiffPlan, opened: VersionStore): void {
  const { horizon } = opened;
  const asked = { ...question, asOf: undefined };
  if (![from, to].some((moment) => isBeforeHorizon(boundsOf(asked, moment), horizon))) return;
  throw new TidemarkError(
    'BEFORE_RETENTION',
    `the horizon of ${view.name}’s retention is ${formatInstant(horizon.moment as Micros)}, which is ` +
      `snapshot ${horizon.seq}, and the diff reaches before it: ask from, to, known_at and ` +
      'at_snapshot of later',
  );
}

function summaryOf(plan: DiffPlan, counts: Counts): object {
  const { view, version, from, to, question, minDistance } = plan;
  const { boundary, knowledge, knownAt, maxAge, snapshot } = question;
  return {
    ...counts,
    feature_view: view.name,
    version: version.version,
    dim: version.dim,
    dtype: version.dtype,
    snapshot,
    question: {
      from: formatInstant(from),
      to: formatInstant(to),
      boundary,
      knowledge,
      known_at: knownAt === undefined ? null : formatInstant(knownAt as Micros),
      max_age: maxAge === ANY_AGE ? null : formatDuration(maxAge),
      min_distance: minDistance,
    },
  };
}
