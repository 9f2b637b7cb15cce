import type { Change } from './change-log.ts';
import { TOMBSTONE } from './chunk.ts';
import type { Counters, VersionFiles } from './version-files.ts';

/**
 * Within a commit: stores revisions that were committed elsewhere, as they are, with their seqs,
 * times and vector ids. Ascending seqs; those that are here already are passed by, so that doing it
 * again changes nothing. `counters` move with what is stored; the caller stores them.
 * `vectorOf` gives the bytes of a vector, valid until the next call; `textOf` what is stored of the
 * text that it was made of, where that is kept.
 */
export function replay(
  files: VersionFiles,
  counters: Counters,
  changes: readonly Change[],
  vectorOf: (id: number) => Uint8Array,
  textOf: (id: number) => Uint8Array | undefined,
): void {
  const { log, timelines, vectors, texts } = files;
  const last = log.lastSeq();
  for (const change of changes) {
    if (change.seq <= last && log.has(change.seq)) continue;
    const { vectorId } = change;
    const isNew = vectorId >= counters.nextVectorId;
    if (isNew) {
      vectors.append(vectorId, vectorOf(vectorId));
      counters.nextVectorId = vectorId + 1;
    } else if (vectorId !== TOMBSTONE && !vectors.has(vectorId)) {
      // An old one that is in force again: it stands before others.
      vectors.insert(vectorId, vectorOf(vectorId));
    }
    if (vectorId !== TOMBSTONE && texts !== undefined && !texts.has(vectorId)) {
      const text = textOf(vectorId);
      if (text !== undefined) texts.put(vectorId, text, isNew ? { append: true } : undefined);
    }
    const place = timelines.locate(change.entityId, change);
    if (place.draft.count === 0) counters.entities++;
    timelines.insert(place, change);
    log.appendChange(change);
    counters.revisions++;
    counters.lastCreated = Math.max(counters.lastCreated, change.created);
  }
}
