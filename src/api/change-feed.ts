import { Pace } from '../ground/pace.ts';
import type { FeedPage, FeedRange } from '../store/feed.ts';
import type { Store } from '../store/store.ts';

/** Between two signs of life while nothing happens. */
const HEARTBEAT_MS = 1_000;

export interface FeedQuestion extends Omit<FeedRange, 'upTo' | 'limit'> {
  /** Goes on with what comes, until it is told to end; otherwise up to the snapshot of now. */
  follow: boolean;
  /** Changes in all, at most. */
  limit: number;
  /** Changes of one page, at most. */
  pageRows: () => number;
}

/**
 * The feed a page at a time, as `make` shows a page, in the turn in which it was read: what its
 * changes refer to may be gone in the next. `isCaughtUp`: nothing more is there, or is asked for,
 * just now. While it follows, an empty page comes about every second in which nothing happens.
 * Between two pages nothing is held open.
 */
export async function* readPages<T>(
  store: Store,
  { follow, limit, pageRows, ...question }: FeedQuestion,
  signal: AbortSignal,
  make: (page: FeedPage, isCaughtUp: boolean) => T,
): AsyncGenerator<T> {
  const end = follow ? Number.MAX_SAFE_INTEGER : store.snapshot;
  const pace = new Pace();
  const silence = new Silence(store, signal);
  let { after } = question;
  let left = limit;
  while (!signal.aborted) {
    silence.listen();
    const range = { ...question, after, upTo: end, limit: Math.min(left, pageRows()) };
    const page = store.changes(range);
    after = page.upTo;
    left -= countOf(page);
    const isOver = left <= 0 || after >= end;
    const isCaughtUp = isOver || after >= store.snapshot;
    yield make(page, isCaughtUp);
    if (isOver) return;
    if (isCaughtUp) await silence.end();
    else await pace.rest();
  }
}

function countOf({ items }: FeedPage): number {
  return items.reduce((sum, item) => sum + ('changes' in item ? item.changes.length : 1), 0);
}

/** Waits for the watermark to move, and leaves nothing behind on it each time that it does not. */
class Silence {
  private store: Store;
  private signal: AbortSignal;
  private isListening = false;
  private hasMoved = false;
  private wake = (): void => {};

  constructor(store: Store, signal: AbortSignal) {
    this.store = store;
    this.signal = signal;
    signal.addEventListener('abort', () => this.wake());
  }

  /** To be called before the watermark is looked at: what moves from then on ends the silence. */
  listen(): void {
    this.hasMoved = false;
    if (!this.isListening) void this.hear();
  }

  /** Resolves when the watermark has moved, the signal ends it all, or after a while. */
  async end(): Promise<void> {
    if (this.hasMoved || this.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, HEARTBEAT_MS);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private async hear(): Promise<void> {
    this.isListening = true;
    await this.store.nextMove();
    this.isListening = false;
    this.hasMoved = true;
    this.wake();
  }
}
