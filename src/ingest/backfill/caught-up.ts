import { TryLater } from '../../ground/errors.ts';
import { nameOf } from '../../store/versions.ts';
import type { StoredPosition } from '../kafka/source.ts';
import type { SourceNeeds } from './source-parts.ts';

const RETRY_SECONDS = 5;

/**
 * What one version has still to read of a source, and the other one's reader began after, would come
 * into the other one neither with its source nor with what the first one has stored by now. Throws
 * OVERLOADED while there is any.
 */
export function requireCaughtUp(
  readersOf: SourceNeeds['readersOf'],
  view: string,
  from: string,
  to: string,
): void {
  for (const reader of readersOf(view, to)) {
    const { name } = reader.config;
    const other = readersOf(view, from).find((each) => each.config.name === name);
    if (other === undefined) continue;
    const begun = reader.positions();
    const read = other.positions();
    const isThere = begun !== undefined && read !== undefined && !begun.some(isMissed(read));
    if (isThere) continue;
    throw new TryLater(
      'OVERLOADED',
      `${nameOf(view, from)} has still to read records of the source ${name} that ` +
        `${nameOf(view, to)} begins after: ask again when it has, or fill it from the source`,
      RETRY_SECONDS,
    );
  }
}

/** Whether a partition is not read up to where the other reader began with it. */
function isMissed(
  read: readonly StoredPosition[],
): (begun: Pick<StoredPosition, 'topic' | 'partition' | 'first'>) => boolean {
  return ({ topic, partition, first }) => {
    // One that began with the topic reads all by itself.
    if (first === undefined || first === 0n) return false;
    const at = read.find((each) => each.topic === topic && each.partition === partition);
    return at?.next === undefined || at.next < first;
  };
}
