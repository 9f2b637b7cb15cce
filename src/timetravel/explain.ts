import { assert } from '../ground/assert.ts';
import { formatDuration } from '../ground/duration.ts';
import { formatInstant, type Micros } from '../ground/time.ts';
import type { Revision } from '../store/chunk.ts';
import type { Horizon } from '../store/horizon.ts';
import { compareOrder, type OrderKey } from '../store/order.ts';
import { justAfter, type Readable, readHistory, readLater } from './history.ts';
import { resolveMany } from './lookup.ts';
import { ANY_AGE, type Bounds, boundsOf, type Question } from './question.ts';
import type { Resolution } from './resolve.ts';
import * as code from './status.ts';

/** The rules of time that decide an answer. */
export const RULES = ['A1', 'A2', 'A5', 'A6', 'A7', 'A8', 'A9', 'A10'] as const;
type Rule = (typeof RULES)[number];

/** What became of a revision: the one that is kept wins. */
export const VERDICTS = ['kept', 'dropped'] as const;

/** What a rule decided, with the numbers that it compared. */
interface Ruling {
  rule: Rule;
  why: string;
}

export interface Judged extends Ruling {
  revision: Revision;
  verdict: (typeof VERDICTS)[number];
}

export interface Explanation {
  /** The answer, one row, as every other question has it. */
  resolution: Resolution;
  /** The rule that decided it; null where there is no revision to decide about. */
  rule: Rule | null;
  why: string;
  /** A stretch of the timeline, newest first in A2 order, with the winner where there is one. */
  revisions: Judged[];
  /** Whether there are more on either side of the stretch. */
  cut: { newer: boolean; older: boolean };
}

/**
 * Why a question about one entity has the answer that it has. The answer comes from where every
 * answer comes from (A3), and what is said about each revision has to agree with it.
 * `id` is well-formed. `durable`: no revision above it is shown, even as one that does not count.
 */
export function explain(
  version: Readable,
  id: string,
  question: Question,
  durable: number,
  limit: number,
): Explanation {
  const resolution = resolveMany(version, [id], question);
  const bounds = boundsOf(question);
  const reason = resolution.reasons[0]!;
  const winner = winnerOf(resolution);
  const pivot = winner ?? justAfter(bounds.event);
  const { cut, revisions } = readAround(version, id, pivot, durable, limit);
  const isAnswered = reason !== code.BEFORE_RETENTION;
  const judged = revisions.map((each) => judge(each, question, bounds, winner, isAnswered));
  assert(
    winner === undefined || judged.some(({ verdict }) => verdict === 'kept'),
    'who explains an answer sees the revision that answers',
  );
  const decided = decide(resolution, question, bounds, judged, version.horizon);
  return { resolution, ...decided, revisions: judged, cut };
}

function winnerOf({ events, knowns, seqs }: Resolution): OrderKey | undefined {
  if (Number.isNaN(events[0])) return undefined;
  return { event: events[0]!, known: knowns[0]!, seq: seqs[0]! };
}

/**
 * Up to `limit` revisions that follow each other, newest first, from both sides of the pivot: half
 * of them newer, or more where there are fewer at and below it.
 */
function readAround(
  version: Readable,
  id: string,
  pivot: OrderKey,
  snapshot: number,
  limit: number,
): { revisions: Revision[]; cut: Explanation['cut'] } {
  const whole = { from: Number.NEGATIVE_INFINITY, to: pivot.event, snapshot };
  const below = { ...pivot, seq: pivot.seq + 1 };
  const older = readHistory(version, id, { ...whole, below }, limit + 1);
  const newer = readLater(version, id, pivot, snapshot, limit + 1);
  const newerShown = Math.min(newer.length, Math.max(limit - older.length, limit >> 1));
  const olderShown = Math.min(older.length, limit - newerShown);
  return {
    revisions: [...newer.slice(0, newerShown).toReversed(), ...older.slice(0, olderShown)],
    cut: { newer: newerShown < newer.length, older: olderShown < older.length },
  };
}

function judge(
  revision: Revision,
  question: Question,
  bounds: Bounds,
  winner: OrderKey | undefined,
  isAnswered: boolean,
): Judged {
  const bound = outOfBounds(revision, question, bounds);
  if (bound !== undefined) return { revision, verdict: 'dropped', ...bound };
  if (!isAnswered) {
    const why = 'it counts, and the question reaches before the horizon of retention';
    return { revision, verdict: 'dropped', rule: 'A10', why };
  }
  const order = winner === undefined ? Number.NaN : compareOrder(winner, revision);
  assert(winner !== undefined && order >= 0, 'explaining and resolving agree on what counts');
  return order === 0
    ? { revision, verdict: 'kept', rule: 'A2', why: 'of all that count it is the last in order' }
    : { revision, verdict: 'dropped', rule: 'A2', why: outranked(revision, winner) };
}

/** The first of the bounds that the revision is above; undefined when it counts. */
function outOfBounds(
  { event, known, created, seq }: Revision,
  { asOf, knownAt }: Question,
  bounds: Bounds,
): Ruling | undefined {
  if (seq > bounds.seq) {
    return { rule: 'A9', why: `its seq ${seq} is above the snapshot ${bounds.seq}` };
  }
  if (event > bounds.event) {
    const why =
      event === asOf
        ? `its event_timestamp is as_of, ${at(event)}, and the boundary is exclusive`
        : `its event_timestamp ${at(event)} is after as_of ${at(asOf)}`;
    return { rule: 'A1', why };
  }
  if (known > bounds.known) {
    const bound =
      knownAt !== undefined && known > knownAt
        ? `known_at ${at(knownAt)}`
        : `as_of ${at(asOf)}, and knowledge=input counts what was known by then`;
    return { rule: 'A5', why: `its known_timestamp ${at(known)} is after ${bound}` };
  }
  if (created > bounds.created) {
    const bound = `as_of ${at(asOf)}, and knowledge=served counts what was stored by then`;
    return { rule: 'A5', why: `its created_timestamp ${at(created)} is after ${bound}` };
  }
  return undefined;
}

/** Which part of the order put the winner after it. */
function outranked({ event, known, seq }: Revision, winner: OrderKey): string {
  if (event !== winner.event) {
    return `it counts, and the winner’s event_timestamp ${at(winner.event)} is later than its ${at(event)}`;
  }
  return known === winner.known
    ? `it counts, and of the same event_timestamp and known_timestamp the winner’s seq ${winner.seq} is greater than its ${seq}`
    : `it counts, and of the same event_timestamp the winner’s known_timestamp ${at(winner.known)} is later than its ${at(known)}`;
}

/** What became of the whole question. */
function decide(
  { statuses, reasons, events, seqs }: Resolution,
  question: Question,
  bounds: Bounds,
  judged: readonly Judged[],
  horizon: Horizon,
): { rule: Rule | null; why: string } {
  const [reason, status] = [reasons[0]!, statuses[0]!];
  const [event, seq] = [events[0]!, seqs[0]!];
  if (reason === code.ERASED) {
    return { rule: 'A8', why: 'the entity was erased: nothing about it is shown or stored' };
  }
  if (reason === code.BEFORE_RETENTION) {
    return { rule: 'A10', why: beforeHorizon(question, bounds, horizon) };
  }
  if (reason === code.NOT_YET_KNOWN) {
    const why = 'there are revisions in time, and none of them was known as the question asks';
    return { rule: 'A5', why };
  }
  if (reason === code.DELETED) {
    return { rule: 'A7', why: `seq ${seq} wins, and is a delete as of ${at(event)}` };
  }
  if (status === code.OUTSIDE_MAX_AGE) {
    return { rule: 'A6', why: `seq ${seq} wins, and ${ageOf(event, question)}` };
  }
  if (status === code.PRESENT) {
    const age = question.maxAge === ANY_AGE ? 'may be of any age' : ageOf(event, question);
    return { rule: 'A2', why: `seq ${seq} wins, and ${age}` };
  }
  if (judged.some(({ rule }) => rule === 'A1')) {
    const before = question.boundary === 'exclusive' ? 'before' : 'at or before';
    const why = `of the revisions up to the snapshot none is ${before} as_of ${at(question.asOf)}`;
    return { rule: 'A1', why };
  }
  return judged.length > 0
    ? { rule: 'A9', why: `no revision is up to the snapshot ${bounds.seq}` }
    : { rule: null, why: 'the entity has no revision' };
}

/** How old the winner is, and may be (A6). */
function ageOf(event: number, { asOf, now, maxAge }: Question): string {
  const moment = asOf ?? now;
  const from = `${asOf === undefined ? 'now' : 'as_of'} ${at(moment)}`;
  const limit = `max_age ${formatDuration(maxAge)}`;
  const age = moment - event;
  if (age < 0) return `its event_timestamp ${at(event)} is after ${from}, within ${limit}`;
  const compared = age > maxAge ? 'longer than' : 'within';
  return `its event_timestamp ${at(event)} is ${formatDuration(age)} before ${from}, ${compared} ${limit}`;
}

/** What of the question lies before the horizon (A10). */
function beforeHorizon(
  { asOf, boundary, knownAt }: Question,
  bounds: Bounds,
  { moment, seq }: Horizon,
): string {
  const parts: string[] = [];
  if (bounds.event < moment) {
    parts.push(`as_of ${at(asOf)}${boundary === 'exclusive' ? ' (exclusive)' : ''}`);
  }
  if (knownAt !== undefined && knownAt < moment) parts.push(`known_at ${at(knownAt)}`);
  if (bounds.seq < seq) parts.push(`the snapshot ${bounds.seq}`);
  const lie = parts.length > 1 ? 'lie' : 'lies';
  return `${parts.join(' and ')} ${lie} before the horizon of retention, ${at(moment)}, snapshot ${seq}`;
}

function at(time: number | undefined): string {
  assert(time !== undefined, 'a bound that keeps a revision out is of the question');
  return formatInstant(time as Micros);
}
