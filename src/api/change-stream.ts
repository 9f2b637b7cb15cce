import type { Catalogue, CatalogueEvent } from '../store/catalogue.ts';
import { changesFormat, ChangesEncoder, encodeFrame } from '../store/change-frames.ts';
import { vectorBytes } from '../store/dtype.ts';
import type { FeedPage } from '../store/feed.ts';
import type { Store } from '../store/store.ts';
import type { VersionStore } from '../store/version-store.ts';
import { type FeedQuestion, readPages } from './change-feed.ts';
import type { Problem } from './problem.ts';

/** Nobody else is held up for long while a page is made. */
const PAGE_BYTES = 2 ** 20;
const PAGE_ROWS_MAX = 1_000;
/** One may name thousands of erased entities. */
const EVENTS_PAGE = 64;
/** A row without its vector. */
const ROW_BYTES = 200;

/**
 * The changes as a replica takes them; see `Frame`. Those of the catalogue are told of all views, even
 * where the others are about one. When they break off, a last frame says why.
 */
export async function* changeFrames(
  store: Store,
  question: Pick<FeedQuestion, 'after' | 'follow' | 'about'>,
  signal: AbortSignal,
  describe: (error: unknown) => Problem,
): AsyncGenerator<Buffer> {
  try {
    yield* frames(store, question, signal);
  } catch (error) {
    const { code, detail } = describe(error);
    yield encodeFrame({ type: 'error', code, detail });
    // This cuts the connection: a broken answer must not look like a whole one.
    throw error;
  }
}

async function* frames(
  store: Store,
  question: Pick<FeedQuestion, 'after' | 'follow' | 'about'>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { catalogue } = store;
  const lineage = catalogue.lineage();
  const format = changesFormat(catalogue.views());
  // Who follows was told this format, and comes again for another one.
  const isOther = (): boolean => changesFormat(catalogue.views()) > format;
  yield encodeFrame({
    type: 'hello',
    format,
    lineage,
    erasure_key: catalogue.erasureKey(),
    snapshot: store.snapshot,
  });
  const news = new News(store, question.after);
  for (let events = news.read(); events.length > 0; events = news.read()) {
    if (isOther()) return;
    yield Buffer.concat(events.map((event) => encodeFrame({ type: 'event', event })));
  }
  const encoder = new ChangesEncoder();
  let whole = 0;
  const pageRows = (): number => rowsOf(store);
  const all = { ...question, limit: Number.POSITIVE_INFINITY, pageRows };
  const make = (page: FeedPage): Buffer[] | undefined => {
    // Promoted meanwhile, or the replica of another: whoever follows must hear of that first.
    if (catalogue.lineage().id !== lineage.id || isOther()) return undefined;
    const made: Buffer[] = [];
    // What the catalogue lost since is no longer among the changes: it is told first.
    for (let events = news.read(); events.length > 0; events = news.read()) {
      made.push(...events.map((event) => encodeFrame({ type: 'event', event })));
      if (events.some(({ type }) => type === 'erased')) encoder.forgetTexts();
    }
    for (const item of page.items) {
      if ('changes' in item) {
        made.push(encoder.encode(item.version, item.changes, partsOf(catalogue, item.version)));
      }
    }
    whole = wholeUpTo(page, store.snapshot) ?? whole;
    made.push(
      encodeFrame({
        type: 'watermark',
        up_to: page.upTo,
        whole,
        snapshot: store.snapshot,
        seq_reserved: catalogue.seqReserved(),
        time: store.clock(),
      }),
    );
    return made;
  };
  for await (const made of readPages(store, all, signal, make)) {
    if (made === undefined) return;
    yield* made;
  }
}

/** The parts of the version's prompt; none where it has no such. */
function partsOf(catalogue: Catalogue, { view, version }: VersionStore): string[] {
  return Object.keys(catalogue.view(view)?.versions[version]?.model?.prompt?.parts ?? {});
}

/**
 * The last snapshot of the page that cuts no commit in two; undefined where all of it is of one that
 * goes on. The rows of a commit are of one version, with nothing between them and one created time.
 */
function wholeUpTo({ items, upTo }: FeedPage, durable: number): number | undefined {
  const last = items.at(-1);
  if (last === undefined || !('changes' in last)) return upTo;
  const { changes, version } = last;
  const { seq, created } = changes.at(-1)!;
  if (version.log.read(seq, durable, 1)[0]?.created !== created) return upTo;
  const before = changes.findLast((change) => change.created !== created);
  if (before !== undefined) return before.seq;
  return items.length > 1 ? changes[0]!.seq - 1 : undefined;
}

function rowsOf({ catalogue }: Store): number {
  const versions = catalogue.views().flatMap((view) => Object.values(view.versions));
  const sizes = versions.map(({ dim, dtype }) => vectorBytes(dim, dtype));
  const rows = Math.floor(PAGE_BYTES / (ROW_BYTES + Math.max(0, ...sizes)));
  return Math.min(PAGE_ROWS_MAX, Math.max(1, rows));
}

/** The events of the catalogue that were not told yet, whether the revisions got there or not. */
class News {
  private store: Store;
  private told: number;
  private first: CatalogueEvent[];

  constructor(store: Store, after: number) {
    this.store = store;
    this.told = after;
    this.first = after === 0 ? store.catalogue.firstEvents() : [];
  }

  /** The next of them; none when all were told. */
  read(): CatalogueEvent[] {
    const { catalogue } = this.store;
    const events = catalogue.events(this.told, Number.MAX_SAFE_INTEGER, EVENTS_PAGE);
    this.told = events.at(-1)?.seq ?? this.told;
    return [...this.first.splice(0), ...events];
  }
}
