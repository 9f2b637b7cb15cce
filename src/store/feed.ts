import type { Catalogue, CatalogueEvent } from './catalogue.ts';
import type { Change } from './change-log.ts';
import type { VersionStore } from './version-store.ts';

/** Consecutive changes: of one model version, or one of the catalogue. */
export type FeedItem = { version: VersionStore; changes: Change[] } | { event: CatalogueEvent };

export interface FeedPage {
  items: FeedItem[];
  /** All changes of the store up to this seq are in the page, or were before it. */
  upTo: number;
}

/** What is left to read of a source, in the order of seqs. */
type Queue =
  | { seqs: number[]; next: number; version: VersionStore; changes: Change[] }
  | { seqs: number[]; next: number; events: CatalogueEvent[] };

/**
 * The next changes of a store after `after`, up to `watermark`, in the order of their seqs: at most
 * `limit` of each version and of the catalogue. What retention dropped and what was erased is not
 * among them; the horizon, and the erasure, are.
 */
export function readFeed(
  catalogue: Catalogue,
  versions: readonly VersionStore[],
  after: number,
  watermark: number,
  limit: number,
): FeedPage {
  // Whoever filled its page may have more: nothing beyond its last change is in order yet.
  let upTo = watermark;
  const seqsOf = (changes: readonly { seq: number }[]): number[] => {
    if (changes.length === limit) upTo = Math.min(upTo, changes.at(-1)!.seq);
    return changes.map(({ seq }) => seq);
  };
  const events = catalogue.events(after, watermark, limit);
  const queues: Queue[] = [{ seqs: seqsOf(events), next: 0, events }];
  for (const version of versions) {
    const changes = version.log.read(after, upTo, limit);
    queues.push({ seqs: seqsOf(changes), next: 0, version, changes });
  }
  return { items: merge(queues, upTo), upTo };
}

function merge(queues: readonly Queue[], upTo: number): FeedItem[] {
  const items: FeedItem[] = [];
  for (;;) {
    let least: Queue | undefined;
    // Where the next of the others stands: a run goes on up to there.
    let bound = upTo + 1;
    for (const queue of queues) {
      const seq = seqAt(queue);
      if (least === undefined || seq < seqAt(least)) {
        if (least !== undefined) bound = Math.min(bound, seqAt(least));
        least = queue;
      } else {
        bound = Math.min(bound, seq);
      }
    }
    if (least === undefined || seqAt(least) > upTo) return items;
    const from = least.next;
    do least.next++;
    while (seqAt(least) < bound);
    if ('events' in least) {
      items.push(...least.events.slice(from, least.next).map((event) => ({ event })));
    } else {
      items.push({ version: least.version, changes: least.changes.slice(from, least.next) });
    }
  }
}

function seqAt({ seqs, next }: Queue): number {
  return seqs[next] ?? Number.POSITIVE_INFINITY;
}
