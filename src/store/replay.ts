import type { Change } from './change-log.ts';
import { TOMBSTONE } from './chunk.ts';
import type { Counters, VersionFiles } from './version-files.ts';

/**
 * Within a commit: stores revisions that were committed elsewhere, as they are, with their seqs,
 * times and vector ids. Ascending seqs; those that are here already are passed by, so that doing it
 * again changes nothing. `counters` move with what is stored; the caller stores them.
 * `vectorOf` gives the bytes of a vector, valid until the next call.
 */
export function replay(
  files: VersionFiles,
  counters: Counters,
  changes: readonly Change[],
  vectorOf: (id: number) => Uint8Array,
): void {
  const { log, timelines, vectors } = files;
  for (const change of changes) {
    if (log.has(change.seq)) continue;
    const { vectorId } = change;
    if (vectorId !== TOMBSTONE && !vectors.has(vectorId)) {
      // An old vector may be in force again; then it stands before others.
      if (vectorId >= counters.nextVectorId) vectors.append(vectorId, vectorOf(vectorId));
      else vectors.insert(vectorId, vectorOf(vectorId));
      counters.nextVectorId = Math.max(counters.nextVectorId, vectorId + 1);
    }
    const place = timelines.locate(change.entityId, change);
    if (place.draft.count === 0) counters.entities++;
    timelines.insert(place, change);
    log.appendChange(change);
    counters.revisions++;
    counters.lastCreated = Math.max(counters.lastCreated, change.created);
  }
}
