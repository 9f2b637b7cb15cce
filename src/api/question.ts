import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { FeatureView } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import { ANY_AGE, type Boundary, type Knowledge, type Question } from '../timetravel/question.ts';

/** A question as it was sent, its defaults filled in by its schema. */
export interface AskedQuestion {
  as_of?: Micros | null | undefined;
  boundary: Boundary;
  knowledge: Knowledge;
  known_at?: Micros | null | undefined;
  /** µs, or `ANY_AGE`. */
  max_age?: number | null | undefined;
  now?: Micros | null | undefined;
  at_snapshot?: number | undefined;
  min_snapshot?: number | undefined;
}

/** The question with nothing left open: its snapshot is the watermark of now, or the asked one. */
export function resolveQuestion(asked: AskedQuestion, store: Store): Question {
  return {
    asOf: asked.as_of ?? undefined,
    boundary: asked.boundary,
    knowledge: asked.knowledge,
    knownAt: asked.known_at ?? undefined,
    maxAge: asked.max_age ?? ANY_AGE,
    now: asked.now ?? store.clock(),
    snapshot: resolveSnapshot(asked, store),
  };
}

/** How old an answer of the view may be: what was asked, else what the view says (A6). */
export function maxAgeOf(asked: Pick<AskedQuestion, 'max_age'>, view: FeatureView): number {
  return asked.max_age ?? view.max_age ?? ANY_AGE;
}

/** Throws SNAPSHOT_UNAVAILABLE for one above what is durable here (A9). */
export function resolveSnapshot(
  { at_snapshot: at, min_snapshot: least }: Pick<AskedQuestion, 'at_snapshot' | 'min_snapshot'>,
  store: Store,
): number {
  const durable = store.snapshot;
  const asked = Math.max(at ?? 0, least ?? 0);
  if (asked > durable) {
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `the snapshot ${asked} was asked for, ${durable} is what is durable here; ask again shortly, or the server that named it`,
    );
  }
  if (at !== undefined && least !== undefined && at < least) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `at_snapshot ${at} is below min_snapshot ${least}: leave one of them out`,
    );
  }
  return at ?? durable;
}

export interface QuestionEcho {
  as_of: string | null;
  boundary: Boundary;
  knowledge: Knowledge;
  known_at: string | null;
  now: string | null;
}

/**
 * The resolved question, as answers repeat it; each result names its own `max_age`. `isAged`: one of
 * them has a limit, which a latest answer is measured for from `now`.
 */
export function echoQuestion(
  { asOf, boundary, knowledge, knownAt, now }: Question,
  isAged: boolean,
): QuestionEcho {
  const isFromNow = isAged && asOf === undefined;
  return {
    as_of: textOf(asOf),
    boundary,
    knowledge,
    known_at: textOf(knownAt),
    now: isFromNow ? textOf(now) : null,
  };
}

/** A limit of age as answers show it: null for any age. */
export function maxAgeText(maxAge: number): string | null {
  return maxAge === ANY_AGE ? null : formatDuration(maxAge);
}

function textOf(time: number | undefined): string | null {
  return time === undefined ? null : formatInstant(time as Micros);
}

/** A time of a resolution's column: null for NaN, which stands for none. */
export function columnTime(time: number): string | null {
  return Number.isNaN(time) ? null : formatInstant(time as Micros);
}
