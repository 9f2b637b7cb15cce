import type { Lineage, Parent } from './catalogue.ts';

/** The store that was may have reserved, and given, more seqs than is known here. */
const GULF_MIN = 2 ** 32;
/** Two that go on from one past, as from one backup restored twice, do not do so at the same seq. */
const GULF_CHANCE = 2 ** 40;

/**
 * How many seqs a store leaves out that goes on under a new name, promoted or restored: none is to
 * be given twice. `random`: from 0 up to 1.
 */
export function seqGulf(random: () => number): number {
  return GULF_MIN + Math.floor(random() * GULF_CHANCE);
}

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

/** Where the snapshot is one that a store had which this one was, and this one never had: that one. */
export function strangerAt({ parents }: Lineage, snapshot: number): Parent | undefined {
  return parents.find(({ up_to, from = up_to }) => snapshot > up_to && snapshot < from);
}

/** Under which names a store has been, and up to which snapshot; the oldest first. */
function pastOf({ id, parents }: Lineage): [string, number][] {
  return [
    ...parents.map((parent): [string, number] => [parent.id, parent.up_to]),
    [id, Number.POSITIVE_INFINITY],
  ];
}
