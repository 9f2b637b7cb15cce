import type { PartitionKey } from './keys.ts';
import type { Offsets } from './offsets.ts';

/*
 * How far the sinks of a model version have come stands among its offsets, under names that no
 * source can have: of a sink the seq up to which its revisions are published, of the dead letters
 * of a partition the offset from which on they are not.
 */

const SINK = 'sink/';
const LETTERS = 'dead-letters/';

export function sinkKey(name: string, topic: string): PartitionKey {
  return { source: SINK + name, topic, partition: 0 };
}

export function isSinkKey({ source }: PartitionKey): boolean {
  return source.startsWith(SINK);
}

/** For the dead letters of a partition that a source reads. */
export function lettersKey({ source, topic, partition }: PartitionKey): PartitionKey {
  return { source: LETTERS + source, topic, partition };
}

/** What every sink of the version has published: all up to this seq. Infinity where it has none. */
export function drainedUpTo(offsets: Offsets): number {
  let least = Number.POSITIVE_INFINITY;
  for (const { key, next } of offsets.all()) {
    if (isSinkKey(key)) least = Math.min(least, Number(next));
  }
  return least;
}
