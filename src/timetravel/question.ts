import { MICROS_MAX } from '../ground/time.ts';

/** Which knowledge a question admits (A5). */
export const KNOWLEDGE = ['event', 'input', 'served'] as const;
export type Knowledge = (typeof KNOWLEDGE)[number];

/** Whether a revision at exactly `as_of` counts (A1). */
export const BOUNDARIES = ['inclusive', 'exclusive'] as const;
export type Boundary = (typeof BOUNDARIES)[number];

/** The `maxAge` of a question that any age is good enough for. */
export const ANY_AGE = Number.POSITIVE_INFINITY;

/** A question about time, resolved: nothing in it is left to a default. Times in µs. */
export interface Question {
  /** Undefined: the latest, the same question with no upper bound (A3). */
  asOf: number | undefined;
  boundary: Boundary;
  knowledge: Knowledge;
  /** Bounds the known time of every candidate, inclusive. */
  knownAt: number | undefined;
  /** How long before `as_of` the winner's event time may lie, inclusive, µs (A6). */
  maxAge: number;
  /** What the age of a latest answer is measured from. */
  now: number;
  /** The state that is asked: no revision above it counts (A9). */
  snapshot: number;
}

/**
 * What a candidate must satisfy: four upper bounds, all inclusive. A revision counts when none of
 * its numbers is above its bound; that, and how old the winner may be, is all that resolving knows
 * about time.
 */
export interface Bounds {
  event: number;
  known: number;
  created: number;
  seq: number;
  /** Least event time of a winner that is fresh (A6). It keeps no candidate out. */
  oldest: number;
}

/** The bounds of a question asked of the moment `asOf`, µs; pure. */
export function boundsOf(question: Question, asOf = question.asOf): Bounds {
  return setBounds({ event: 0, known: 0, created: 0, seq: 0, oldest: 0 }, question, asOf);
}

/** `boundsOf` into an object that is there already: for questions asked row after row. */
export function setBounds(into: Bounds, question: Question, asOf: number | undefined): Bounds {
  const { boundary, knowledge, knownAt, snapshot, maxAge, now } = question;
  const moment = asOf ?? MICROS_MAX;
  // Times are whole: before t is at or before t − 1. The boundary touches no other bound (A1).
  into.event = asOf !== undefined && boundary === 'exclusive' ? moment - 1 : moment;
  into.known = Math.min(knownAt ?? MICROS_MAX, knowledge === 'input' ? moment : MICROS_MAX);
  into.created = knowledge === 'served' ? moment : MICROS_MAX;
  into.seq = snapshot;
  into.oldest = (asOf ?? now) - maxAge;
  return into;
}

/** What was in force at the horizon of a retention, as far as it was then known and stored (A10). */
export function questionAtHorizon(moment: number): Question {
  return {
    asOf: moment,
    boundary: 'inclusive',
    knowledge: 'served',
    knownAt: moment,
    maxAge: ANY_AGE,
    now: moment,
    snapshot: MICROS_MAX,
  };
}
