import { boundsOf, type Question, setBounds } from '../question.ts';
import { Resolution, type Resolvable, Resolver } from '../resolve.ts';
import type { IdColumn } from '../spine/window.ts';
import * as code from '../status.ts';
import { idOrder } from './id-order.ts';

/**
 * Answers each row of a window for its own entity at its own moment (µs; NaN:
 * BAD_TIMESTAMP, infinite: the latest), as
 * `resolveSpine` does: by entity in the order of ids, so that a timeline is read once for all of its
 * rows. `isWhole`: see `Resolution`.
 */
export function resolveWindow(
  version: Resolvable,
  { ids, ordinals }: IdColumn,
  moments: Float64Array,
  question: Question,
  isWhole: boolean,
): Resolution {
  const out = new Resolution(ordinals.length, isWhole);
  const bounds = boundsOf(question);
  const resolver = new Resolver(version);
  const order = idOrder(ids);
  const { rows, starts } = rowsById(ordinals, order);
  // Beside each other, as they are asked: whoever goes from row to row waits for memory each time.
  const asked = new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at++) asked[at] = moments[rows[at]!]!;
  for (let at = 0; at < starts[0]!; at++) {
    const isMoment = !Number.isNaN(asked[at]!);
    out.miss(at, code.INVALID, isMoment ? code.BAD_ENTITY_ID : code.BAD_TIMESTAMP);
  }
  for (let rank = 0; rank < order.length; rank++) {
    const [start, end] = [starts[rank]!, starts[rank + 1]!];
    if (resolver.open(ids[order[rank]!]!)) {
      // Further back in a long timeline one chunk after the other is asked, from the latest on.
      rows.subarray(start, end).sort((a, b) => moments[b]! - moments[a]!);
      for (let at = start; at < end; at++) asked[at] = moments[rows[at]!]!;
    }
    for (let at = start; at < end; at++) {
      const moment = asked[at]!;
      if (Number.isNaN(moment)) out.miss(at, code.INVALID, code.BAD_TIMESTAMP);
      else {
        setBounds(bounds, question, moment === Number.POSITIVE_INFINITY ? undefined : moment);
        resolver.answer(bounds, out, at);
      }
    }
  }
  const places = new Int32Array(rows.length);
  for (let at = 0; at < rows.length; at++) places[rows[at]!] = at;
  return out.take(places);
}

/** The rows of each id, in the `order` of ids from `starts[rank]` on; those of none come first. */
function rowsById(
  ordinals: Int32Array,
  order: Int32Array,
): { rows: Int32Array; starts: Int32Array } {
  const ranks = new Int32Array(order.length);
  for (let rank = 0; rank < order.length; rank++) ranks[order[rank]!] = rank;
  const ends = new Int32Array(order.length + 2);
  const rankOf = (row: number) => (ordinals[row]! < 0 ? -1 : ranks[ordinals[row]!]!);
  for (let row = 0; row < ordinals.length; row++) ends[rankOf(row) + 2]!++;
  for (let at = 1; at < ends.length; at++) ends[at]! += ends[at - 1]!;
  const rows = new Int32Array(ordinals.length);
  // Each row moves the start of its id on, to where the next one's is in the end.
  for (let row = 0; row < ordinals.length; row++) rows[ends[rankOf(row) + 1]!++] = row;
  return { rows, starts: ends };
}
