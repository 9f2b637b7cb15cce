import { TOMBSTONE } from '../../src/store/chunk.ts';
import type { FeedItem } from '../../src/store/feed.ts';
import type { LeaderItem } from '../../src/store/leader.ts';
import type { Store } from '../../src/store/store.ts';

/** Brings `replica` to where `leader` is, page by page of its feed, as over a wire without one. */
export async function follow(leader: Store, replica: Store, pageRows: number): Promise<void> {
  const { catalogue } = leader;
  await replica.replica.follow({
    url: `http://${catalogue.lineage().id}.example`,
    lineage: catalogue.lineage(),
    erasureKey: catalogue.erasureKey(),
  });
  for (let { after } = replica.replica; replica.snapshot < leader.snapshot;) {
    const { items, upTo } = leader.changes({
      after,
      upTo: leader.snapshot,
      limit: pageRows,
    });
    // In the turn in which they were read: compaction may drop a vector soon after.
    const sent = items.map(sendable);
    await replica.replica.apply(sent, upTo, catalogue.seqReserved());
    after = upTo;
  }
}

function sendable(item: FeedItem): LeaderItem {
  if ('event' in item) return item;
  const { version, changes } = item;
  const vectors = new Map<number, Uint8Array>();
  for (const { vectorId } of changes) {
    if (vectorId === TOMBSTONE || vectors.has(vectorId)) continue;
    const bytes = new Uint8Array(version.vectors.vectorBytes);
    version.vectors.copyInto(vectorId, bytes, 0);
    vectors.set(vectorId, bytes);
  }
  return { view: version.view, version: version.version, changes, vectors };
}
