/**
 * The order of revisions (A2): by event time, then by when the event was known, then by seq. The
 * greatest candidate wins, so what was learnt later corrects what was learnt earlier about the same
 * moment, and the order of arrival decides only between facts that nothing else tells apart.
 */
export interface OrderKey {
  event: number;
  known: number;
  seq: number;
}

/** Negative when `a` comes before `b`. */
export function compareOrder(a: OrderKey, b: OrderKey): number {
  return a.event - b.event || a.known - b.known || a.seq - b.seq;
}
