import { Pace } from '../ground/pace.ts';
import type { Change } from './change-log.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import type { PartitionKey, SourcePosition } from './keys.ts';
import type { VersionFiles } from './version-files.ts';

const PAGE = 512;

/**
 * The vectors that revisions with a seq above `upTo` alone point to. Where there are any, the whole
 * log is read, a few rows at a time.
 */
export async function vectorsAbove({ log }: VersionFiles, upTo: number): Promise<Set<number>> {
  const found = new Set<number>();
  for (let after = upTo; ;) {
    const changes = log.read(after, Number.MAX_SAFE_INTEGER, PAGE);
    if (changes.length === 0) break;
    for (const { vectorId } of changes) if (vectorId !== TOMBSTONE) found.add(vectorId);
    after = changes.at(-1)!.seq;
  }
  const pace = new Pace();
  for (let after = 0; found.size > 0;) {
    const changes = log.read(after, upTo, PAGE);
    if (changes.length === 0) break;
    for (const { vectorId } of changes) found.delete(vectorId);
    after = changes.at(-1)!.seq;
    await pace.rest();
  }
  return found;
}

/**
 * Within a commit: takes back the revisions with a seq above `upTo`, and sets the offsets of their
 * sources back to before them. `orphans`: the vectors that nothing else points to. This store never
 * gives their ids again; another one of its past does, which it may come to follow.
 */
export function truncate(files: VersionFiles, upTo: number, orphans: ReadonlySet<number>): void {
  const { log, offsets } = files;
  const counters = files.counters();
  const draft = new ChunkDraft(PAGE);
  for (;;) {
    const changes = log.read(upTo, Number.MAX_SAFE_INTEGER, PAGE);
    if (changes.length === 0) break;
    for (const id of new Set(changes.map(({ entityId }) => entityId))) {
      files.timelines.readAll(id, draft);
      if (draft.count === 0) continue;
      draft.keep(0, (at) => draft.seq(at) <= upTo);
      files.timelines.replace(id, draft);
      if (draft.count === 0) counters.entities--;
    }
    for (const { seq, position } of changes) {
      log.remove(seq);
      if (position === undefined) continue;
      const next = offsets.next(position);
      if (next !== undefined && position.offset < next) {
        offsets.put(partitionOf(position), BigInt(position.offset));
      }
    }
    counters.revisions -= changes.length;
  }
  for (const id of orphans) {
    files.vectors.remove(id);
    files.texts?.remove(id);
  }
  files.putCounters(counters);
}

/**
 * Within a commit: has sources go on after these changes, the last of which is what they were told
 * last. Records that left no revision are not known here, and are read again.
 */
export function followOffsets(files: VersionFiles, changes: readonly Change[]): void {
  const last = new Map<string, SourcePosition>();
  for (const { position } of changes) {
    if (position === undefined) continue;
    last.set(`${position.source}\0${position.topic}\0${position.partition}`, position);
  }
  for (const position of last.values()) {
    files.offsets.put(partitionOf(position), BigInt(position.offset) + 1n);
  }
}

function partitionOf({ source, topic, partition }: PartitionKey): PartitionKey {
  return { source, topic, partition };
}
