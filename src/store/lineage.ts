import type { Lineage } from './catalogue.ts';

/**
 * How many seqs a store leaves out that goes on under a new name, promoted or restored: the one that
 * it was may have reserved, and given, more of them than is known here, and none is to be given twice.
 */
export const SEQ_GULF = 2 ** 32;

/**
 * The snapshot up to which two stores have one past; 0 when they have none in common. A store holds
 * what its lineage says as far as it went: whether it went further than this is for it to know.
 */
export function sharedUpTo(mine: Lineage, theirs: Lineage): number {
  const bounds = new Map(pastOf(theirs));
  // What they had in common last: all before it they have in common too.
  for (const [id, upTo] of pastOf(mine).toReversed()) {
    const bound = bounds.get(id);
    if (bound !== undefined) return Math.min(upTo, bound);
  }
  return 0;
}

/** Under which names a store has been, and up to which snapshot; the oldest first. */
function pastOf({ id, parents }: Lineage): [string, number][] {
  return [
    ...parents.map((parent): [string, number] => [parent.id, parent.up_to]),
    [id, Number.POSITIVE_INFINITY],
  ];
}
