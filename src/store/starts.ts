import type { PartitionKey } from './keys.ts';

/*
 * Where a source began in a partition stands among the offsets too, under a name that no source can
 * have, and stays as it is while reading goes on: what is older is for a backfill.
 */

const START = 'start/';

/** For a partition that a source reads. */
export function startKey({ source, topic, partition }: PartitionKey): PartitionKey {
  return { source: START + source, topic, partition };
}
