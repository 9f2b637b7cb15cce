import { formatDuration } from '../ground/duration.ts';
import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import { strangerAt } from '../store/lineage.ts';
import type { ReadStore } from '../store/store.ts';
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

/**
 * The question with nothing left open: its snapshot is the watermark of now, or the asked one.
 * `versions`: those that are asked. Throws what `resolveSnapshot` does.
 */
export function resolveQuestion(
  asked: AskedQuestion,
  store: ReadStore,
  versions: readonly ModelVersion[],
): Question {
  return {
    asOf: asked.as_of ?? undefined,
    boundary: asked.boundary,
    knowledge: asked.knowledge,
    knownAt: asked.known_at ?? undefined,
    maxAge: asked.max_age ?? ANY_AGE,
    now: asked.now ?? store.clock(),
    snapshot: resolveSnapshot(asked, store, versions),
  };
}

/** How old an answer of the view may be: what was asked, else what the view says (A6). */
export function maxAgeOf(asked: Pick<AskedQuestion, 'max_age'>, view: FeatureView): number {
  return asked.max_age ?? view.max_age ?? ANY_AGE;
}

/**
 * Throws SNAPSHOT_UNAVAILABLE for one above what is durable here, for one of a leader that this
 * store took the place of and whose writes up to there it has not, and for one of before a version
 * that is asked was made (A9).
 */
export function resolveSnapshot(
  { at_snapshot: at, min_snapshot: least }: Pick<AskedQuestion, 'at_snapshot' | 'min_snapshot'>,
  store: ReadStore,
  versions: readonly ModelVersion[],
): number {
  const durable = store.snapshot;
  const asked = Math.max(at ?? 0, least ?? 0);
  if (asked > durable) {
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `the snapshot ${asked} was asked for, ${durable} is what is durable here; ask again shortly, or the server that named it`,
    );
  }
  for (const each of [at, least]) if (each !== undefined) requireOwnPast(store, each);
  // Another one may have had its name by then.
  const young = versions.find(({ created_seq: made = 0 }) => at !== undefined && at < made);
  if (young !== undefined) {
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `the snapshot ${at} was asked for, and the model version ${young.version} was made at ` +
        `${young.created_seq}: what was there before is not known any more`,
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

/** Throws SNAPSHOT_UNAVAILABLE. */
export function requireOwnPast({ catalogue }: ReadStore, snapshot: number): void {
  const stranger = strangerAt(catalogue.lineage(), snapshot);
  if (stranger === undefined) return;
  throw new TidemarkError(
    'SNAPSHOT_UNAVAILABLE',
    `the snapshot ${snapshot} is of the store that this one was promoted or restored from, and its ` +
      `past is known here up to ${stranger.up_to} alone: ask at that one, or at ${stranger.from} or later`,
  );
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
