import type { Change } from './change-log.ts';
import { ChunkDraft } from './chunk.ts';
import type { PartitionKey, SourcePosition } from './keys.ts';
import type { VersionFiles } from './version-files.ts';

const PAGE = 512;

/**
 * Within a commit: takes back the revisions with a seq above `upTo`, and sets the offsets of their
 * sources back to before them. Their vectors stay, and no other vector ever gets their ids.
 */
export function truncate(files: VersionFiles, upTo: number): void {
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
