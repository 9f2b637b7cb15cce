import { TidemarkError } from '../../ground/errors.ts';
import { JoinThread } from './thread.ts';

/** A thread that nobody asks for so long gives its memory back, ms. */
const IDLE_MS = 120_000;

/** A thread, lent for one window. */
export interface LentThread {
  thread: JoinThread;
  giveBack(): void;
}

interface Waiting {
  owner: object;
  lend: PromiseWithResolvers<LentThread>;
}

/**
 * The threads that all joins share. One is lent for a window at a time, and to the join that has the
 * fewest: who comes second waits for a window, and not for another's join.
 */
export class JoinPool {
  readonly threads: number;
  private idle: { thread: JoinThread; timer: NodeJS.Timeout }[] = [];
  /** Whom each thread is lent to. */
  private lent = new Map<JoinThread, object>();
  private waiting: Waiting[] = [];
  private isClosed = false;

  constructor(threads: number) {
    this.threads = threads;
  }

  /** Resolves when there is a thread for the join. Throws SHUTTING_DOWN. */
  async lend(owner: object): Promise<LentThread> {
    if (this.isClosed) throw closed();
    const lend = Promise.withResolvers<LentThread>();
    this.waiting.push({ owner, lend });
    this.lendNext();
    return lend.promise;
  }

  /** Ends the threads; joins that are under way fail. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const { lend } of this.waiting.splice(0)) lend.reject(closed());
    for (const { timer } of this.idle) clearTimeout(timer);
    const threads = [...this.idle.splice(0).map(({ thread }) => thread), ...this.lent.keys()];
    await Promise.all(threads.map(async (thread) => thread.end()));
  }

  private lendNext(): void {
    while (this.waiting.length > 0 && this.lent.size < this.threads) {
      const next = this.waiting.reduce((best, each) =>
        this.countOf(each.owner) < this.countOf(best.owner) ? each : best,
      );
      this.waiting.splice(this.waiting.indexOf(next), 1);
      const kept = this.idle.pop();
      if (kept !== undefined) clearTimeout(kept.timer);
      const thread = kept?.thread.isAlive === true ? kept.thread : new JoinThread();
      this.lent.set(thread, next.owner);
      next.lend.resolve({ thread, giveBack: () => this.takeBack(thread) });
    }
  }

  private takeBack(thread: JoinThread): void {
    this.lent.delete(thread);
    if (this.isClosed) return;
    if (thread.isAlive) {
      const timer = setTimeout(() => {
        this.idle = this.idle.filter((each) => each.thread !== thread);
        void thread.end();
      }, IDLE_MS);
      this.idle.push({ thread, timer: timer.unref() });
    }
    this.lendNext();
  }

  private countOf(owner: object): number {
    let count = 0;
    for (const each of this.lent.values()) if (each === owner) count++;
    return count;
  }
}

function closed(): TidemarkError {
  return new TidemarkError('SHUTTING_DOWN', 'the server is stopping');
}
