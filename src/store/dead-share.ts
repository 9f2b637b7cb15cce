import { Pace } from '../ground/pace.ts';
import { ChunkDraft, TOMBSTONE } from './chunk.ts';
import { firstKept } from './copy.ts';
import { drainedUpTo } from './drained.ts';
import { NumberSet } from './number-set.ts';
import type { VersionStore } from './version-store.ts';

const PAGE = 64;
/** What a revision takes in a timeline and in the log, about; a vector beside its numbers. */
const REVISION_BYTES = 128;
const VECTOR_MORE = 16;

/**
 * The share of what a version holds that compaction would leave behind, by bytes, from 0 to 1:
 * revisions below the horizon, and vectors that no other revision points to.
 */
export async function deadShare(version: VersionStore, signal: AbortSignal): Promise<number> {
  const pace = new Pace();
  const draft = new ChunkDraft(256);
  const live = new NumberSet();
  const drained = drainedUpTo(version.offsets);
  let revisions = 0;
  let dead = 0;
  let after: string | undefined;
  for (;;) {
    signal.throwIfAborted();
    const ids = version.timelines.ids(after, PAGE);
    if (ids.length === 0) break;
    for (const id of ids) {
      version.timelines.readAll(id, draft);
      const first = firstKept(draft, version.horizon, drained);
      revisions += draft.count;
      dead += first;
      for (let at = first; at < draft.count; at++) {
        if (draft.vectorId(at) !== TOMBSTONE) live.add(draft.vectorId(at));
      }
      await pace.rest();
    }
    after = ids.at(-1);
  }
  const vectors = version.vectors.count();
  const vectorBytes = version.vectors.vectorBytes + VECTOR_MORE;
  const all = revisions * REVISION_BYTES + vectors * vectorBytes;
  // What came meanwhile is among the vectors, and perhaps not among the live ones.
  const gone = dead * REVISION_BYTES + Math.max(0, vectors - live.size) * vectorBytes;
  return all === 0 ? 0 : gone / all;
}
