import type { Catalogue, CatalogueEvent, FeatureView } from './catalogue.ts';
import type { Change } from './change-log.ts';
import type { VersionStore } from './version-store.ts';

/** Consecutive changes: of one model version, or one of the catalogue. */
export type FeedItem = { version: VersionStore; changes: Change[] } | { event: CatalogueEvent };

/** Which changes are asked for. */
export interface FeedRange {
  /** Those with a greater seq than this. */
  after: number;
  /** And none with a greater seq than this, which is not above the watermark. */
  upTo: number;
  /** So many of them at most. */
  limit: number;
  /** What is about this feature view alone. */
  about?: Pick<FeatureView, 'name' | 'entity'> | undefined;
}

export interface FeedPage {
  items: FeedItem[];
  /** What was asked for is in the page up to this seq, or was before it. */
  upTo: number;
}

/** What is left to read of a source, in the order of seqs. */
type Queue =
  | { next: number; version: VersionStore; changes: Change[] }
  | { next: number; events: CatalogueEvent[] };

const EVENTS_AT_ONCE = 8;
/** Of hashes, in one page. */
const EVENT_BYTES_MAX = 2 ** 18;
/** Fewer are not worth a look at a version's log. */
const EACH_MIN = 16;

/**
 * The next changes of a store, in the order of their seqs. What retention dropped and what was
 * erased is not among them; the horizon, and the erasure, are.
 */
export function readFeed(
  catalogue: Catalogue,
  all: readonly VersionStore[],
  { after, upTo: bound, limit, about }: FeedRange,
): FeedPage {
  let upTo = bound;
  const versions = about === undefined ? all : all.filter(({ view }) => view === about.name);
  // Most pages are of one version, the others cost little; where all are busy, each has its share.
  const each = Math.max(EACH_MIN, Math.ceil(limit / (versions.length + 1)));
  // Whoever filled its share may have more: nothing beyond its last change is in order yet.
  const limitTo = (read: readonly { seq: number }[], isCut = read.length === each): void => {
    if (isCut) upTo = Math.min(upTo, read.at(-1)!.seq);
  };
  const { events, isCut } = readEvents(catalogue, after, upTo, each);
  limitTo(events, isCut);
  const isAsked = (event: CatalogueEvent): boolean => about === undefined || concerns(event, about);
  // Views that are older than the events have no seq: they come first, and with any page.
  const first = after === 0 ? catalogue.firstEvents().filter(isAsked) : [];
  const queues: Queue[] = [{ next: 0, events: events.filter(isAsked) }];
  for (const version of versions) {
    const { erasures, log } = version;
    const changes = log.read(after, upTo, each);
    limitTo(changes);
    // What was erased is on its way out of the log.
    const isPure = erasures.settled || erasures.none;
    const kept = isPure ? changes : changes.filter(({ entityId }) => !erasures.has(entityId));
    queues.push({ next: 0, version, changes: kept });
  }
  const page = merge(queues, upTo, limit);
  return { ...page, items: [...first.map((event) => ({ event })), ...page.items] };
}

/** Events up to so many of them, or so many bytes: an erasure may have thousands of hashes. */
function readEvents(
  catalogue: Catalogue,
  after: number,
  upTo: number,
  limit: number,
): { events: CatalogueEvent[]; isCut: boolean } {
  const events: CatalogueEvent[] = [];
  let bytes = 0;
  while (events.length < limit && bytes < EVENT_BYTES_MAX) {
    const asked = Math.min(EVENTS_AT_ONCE, limit - events.length);
    const page = catalogue.events(events.at(-1)?.seq ?? after, upTo, asked);
    events.push(...page);
    for (const event of page) if ('hashes' in event) bytes += event.hashes.byteLength;
    if (page.length < asked) return { events, isCut: false };
  }
  return { events, isCut: true };
}

function concerns(
  event: CatalogueEvent,
  { name, entity }: Pick<FeatureView, 'name' | 'entity'>,
): boolean {
  if ('scope' in event) return event.scope.entity === entity && (event.scope.view ?? name) === name;
  return (event.type === 'view_dropped' ? event.view : event.view.name) === name;
}

function merge(queues: readonly Queue[], upTo: number, limit: number): FeedPage {
  const items: FeedItem[] = [];
  for (let left = limit; ;) {
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
    if (least === undefined || seqAt(least) > upTo) return { items, upTo };
    if (left === 0) return { items, upTo: seqAt(least) - 1 };
    const from = least.next;
    do {
      least.next++;
      left--;
    } while (left > 0 && seqAt(least) < bound);
    if ('events' in least) {
      items.push(...least.events.slice(from, least.next).map((event) => ({ event })));
    } else {
      items.push({ version: least.version, changes: least.changes.slice(from, least.next) });
    }
  }
}

function seqAt(queue: Queue): number {
  const next = 'events' in queue ? queue.events[queue.next] : queue.changes[queue.next];
  return next?.seq ?? Number.POSITIVE_INFINITY;
}
