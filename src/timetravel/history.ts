import { MICROS_MAX } from '../ground/time.ts';
import { Chunk, type Revision } from '../store/chunk.ts';
import type { SealedKey, TimelineKey } from '../store/keys.ts';
import { compareOrder, type OrderKey } from '../store/order.ts';
import type { Timelines } from '../store/timelines.ts';
import { resolveMany } from './lookup.ts';
import { questionAtHorizon } from './question.ts';
import type { Resolvable } from './resolve.ts';

/** What a history is read of. */
export type Readable = Resolvable & { readonly timelines: Timelines };

/** Which revisions of a timeline are asked; bounds in µs and inclusive. */
export interface HistoryRange {
  /** Least event time. */
  from: number;
  /** Greatest event time. */
  to: number;
  /** Only revisions before this one in A2 order: where the page before has ended. */
  below: OrderKey | undefined;
  /** No revision with a greater seq. */
  snapshot: number;
}

/** Greater than every known time and seq: a key with it is above all revisions of its event time. */
const ABOVE_ALL = Number.MAX_SAFE_INTEGER;

/** Above all revisions that are at or before `event`, and below all others. */
export function justAfter(event: number): OrderKey {
  return { event, known: ABOVE_ALL, seq: ABOVE_ALL };
}

/** Below the revision, and above all before it: seqs are whole and unique. */
function justBefore(revision: OrderKey): OrderKey {
  return { ...revision, seq: revision.seq - 1 };
}

/** Whether the entity was erased (A8): it has no history then. */
export function isErased({ erasures }: Resolvable, id: string): boolean {
  return !erasures.none && erasures.has(id);
}

/**
 * Up to `limit` revisions of an entity, newest first in A2 order, tombstones included; none below
 * what was in force at the horizon (A10), so that compaction changes nothing.
 * Loads the chunks that it answers from and no others, so that a page of a long timeline costs what
 * a page of a short one does.
 */
export function readHistory(
  version: Readable,
  id: string,
  { from, to, below, snapshot }: HistoryRange,
  limit: number,
): Revision[] {
  const page: Revision[] = [];
  if (isErased(version, id)) return page;
  const { timelines } = version;
  const floor = floorOf(version, id);
  const start = below !== undefined && below.event <= to ? justBefore(below) : justAfter(to);

  /** Takes what the chunk has for the page; true when nothing further down can be of it. */
  function take(chunk: Chunk): boolean {
    const least = floor === undefined ? 0 : chunk.insertionPoint(floor);
    for (let at = chunk.insertionPoint(start) - 1; at >= least; at--) {
      if (page.length === limit || chunk.event(at) < from) return true;
      if (chunk.seq(at) <= snapshot) page.push(chunk.revision(at));
    }
    return page.length === limit || least > 0;
  }

  const head = new Chunk();
  if (!timelines.head(id, head)) return page;
  const { hasSealed } = head;
  if (take(head) || !hasSealed) return page;
  const sealed = new Chunk();
  let bound: SealedKey | undefined = timelines.sealed({ id, ...start }, sealed);
  while (bound !== undefined && !take(sealed)) bound = timelines.sealed(bound, sealed, true);
  return page;
}

/**
 * Up to `limit` revisions after `after` in A2 order and up to the snapshot, the nearest first: what
 * `readHistory` would show before it came to `after`.
 */
export function readLater(
  version: Readable,
  id: string,
  after: OrderKey,
  snapshot: number,
  limit: number,
): Revision[] {
  const page: Revision[] = [];
  if (isErased(version, id)) return page;
  const { timelines } = version;
  const floor = floorOf(version, id);
  const start = floor !== undefined && compareOrder(after, floor) < 0 ? floor : after;

  function take(chunk: Chunk): void {
    for (let at = chunk.insertionPoint(start); at < chunk.count && page.length < limit; at++) {
      if (chunk.seq(at) <= snapshot) page.push(chunk.revision(at));
    }
  }

  const chunk = new Chunk();
  if (!timelines.head(id, chunk)) return page;
  if (chunk.hasSealed && chunk.insertionPoint(start) === 0) {
    let key: TimelineKey | undefined = timelines.sealed({ id, ...start }, chunk);
    while (typeof key === 'object' && page.length < limit) {
      take(chunk);
      key = timelines.after(key, chunk);
    }
  }
  take(chunk);
  return page;
}

/**
 * Below all that retention keeps of an entity, and above what it lets go (A10): just before the
 * event time of what was in force at the horizon, as far as it was then known and stored. Undefined
 * where all is kept.
 */
function floorOf(version: Readable, id: string): OrderKey | undefined {
  const { moment } = version.horizon;
  if (moment === Number.NEGATIVE_INFINITY) return undefined;
  const { events } = resolveMany(version, [id], questionAtHorizon(moment));
  if (Number.isNaN(events[0])) return undefined;
  return { event: events[0]!, known: -MICROS_MAX, seq: 0 };
}
