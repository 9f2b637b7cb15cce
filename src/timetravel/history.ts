import { Chunk, type Revision } from '../store/chunk.ts';
import type { SealedKey } from '../store/keys.ts';
import type { OrderKey } from '../store/order.ts';
import type { Timelines } from '../store/timelines.ts';

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

/**
 * Up to `limit` revisions of an entity, newest first in A2 order, tombstones included.
 * Loads the chunks that it answers from and no others, so that a page of a long timeline costs what
 * a page of a short one does.
 */
export function readHistory(
  timelines: Timelines,
  id: string,
  { from, to, below, snapshot }: HistoryRange,
  limit: number,
): Revision[] {
  const page: Revision[] = [];
  // Seqs are whole and unique: before a revision is at or before one with its seq less one.
  const start: OrderKey =
    below !== undefined && below.event <= to
      ? { ...below, seq: below.seq - 1 }
      : { event: to, known: ABOVE_ALL, seq: ABOVE_ALL };

  /** Takes what the chunk has for the page; true when nothing further down can be of it. */
  function take(chunk: Chunk): boolean {
    for (let at = chunk.insertionPoint(start) - 1; at >= 0; at--) {
      if (page.length === limit || chunk.event(at) < from) return true;
      if (chunk.seq(at) <= snapshot) page.push(chunk.revision(at));
    }
    return page.length === limit;
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
