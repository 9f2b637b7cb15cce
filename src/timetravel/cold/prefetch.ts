import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { type Pin, type PinnedVersion, pinVersion } from '../../store/pinned-version.ts';
import type { VersionStore } from '../../store/version-store.ts';
import { resolveMany } from '../lookup.ts';
import type { Question } from '../question.ts';
import * as code from '../status.ts';
import type { ColdWatch } from './cold-watch.ts';

/** Each waits for one page at a time, so this is also how many reads the disk is asked for at once. */
const THREADS_MAX = 4;
/** A smaller file is in memory after a few reads, and not worth the threads. */
const SMALL_BYTES = 2 ** 26;
/** Ids that a thread reads before it is the next request's turn. */
const PART_IDS = 32;
/** Requests that take turns; each keeps a state of its files, of which lmdb has so many. */
const BEGUN_MAX = 16;
/** Threads that nobody asks for so long give their memory back, ms. */
const IDLE_MS = 60_000;

/** Ids of a request that one thread reads. */
export interface ColdPart {
  /** The request's number. */
  wish: number;
  pinned: PinnedVersion;
  ids: readonly string[];
  question: Question;
}

/** What a request wants to have in memory. */
interface Wish {
  number: number;
  store: VersionStore;
  question: Question;
  ids: readonly string[];
  /** From its first turn on. */
  pin: Pin | undefined;
  /** How many of the ids threads have been given, and how many parts they are reading. */
  given: number;
  reading: number;
  /** Aborted when nobody waits any more. */
  gone: AbortSignal;
  done: () => void;
}

/**
 * Brings the pages that lookups are going to read into the kernel's memory, by threads that have
 * nothing else to do: a lookup that waited for the disk itself would have all others wait. Requests
 * take turns, so that one of many ids does not hold up one of few.
 */
export class Prefetch {
  private idle: Worker[] = [];
  private busy = new Map<Worker, Wish>();
  private waiting: Wish[] = [];
  /** Those that have ids left to give, the next first. */
  private begun: Wish[] = [];
  private numbers = 0;
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;
  private watch: Pick<ColdWatch, 'isCold'>;
  private bytesMin: number;

  /** `bytesMin`: of a file that is worth it. */
  constructor(watch: Pick<ColdWatch, 'isCold'>, bytesMin = SMALL_BYTES) {
    this.watch = watch;
    this.bytesMin = bytesMin;
  }

  /** Whether lookups are to wait for it. */
  get isCold(): boolean {
    return this.watch.isCold;
  }

  /**
   * Resolves when what the question reads of the entities, well-formed, was read, as far as it can
   * be, or is given up; what is resident needs no reading. Never rejects.
   */
  async bring(
    store: VersionStore,
    ids: readonly string[],
    question: Question,
    gone: AbortSignal,
  ): Promise<void> {
    if (this.isClosed || bytesOf(store) < this.bytesMin) return;
    const cold = coldIds(store, ids, question);
    if (cold.length === 0) return;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    const of = { number: this.numbers++, store, question, ids: cold, pin: undefined };
    this.waiting.push({ ...of, given: 0, reading: 0, gone, done });
    this.lend();
    await promise;
  }

  /** Ends the threads; nobody waits for them any more. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    const { waiting, begun, busy } = this;
    const wishes = new Set([...waiting.splice(0), ...begun.splice(0), ...busy.values()]);
    const threads = [...this.idle.splice(0), ...this.busy.keys()];
    this.busy.clear();
    await Promise.all(threads.map(async (thread) => thread.terminate()));
    for (const wish of wishes) end(wish);
  }

  /** Gives the threads that are idle the next part of those who wait, in turn. */
  private lend(): void {
    clearTimeout(this.timer);
    while (this.busy.size < THREADS_MAX) {
      const { waiting, begun } = this;
      if (begun.length < BEGUN_MAX && waiting.length > 0) begun.push(waiting.shift()!);
      const wish = begun.shift();
      if (wish === undefined) break;
      this.give(wish);
    }
    if (this.busy.size === 0) this.timer = setTimeout(() => this.rest(), IDLE_MS).unref();
  }

  /** Gives a thread the wish's next ids. */
  private give(wish: Wish): void {
    const { number, store, question, ids, given } = wish;
    if (wish.gone.aborted) {
      wish.given = ids.length;
      // What threads are reading needs its pin until they have.
      if (wish.reading === 0) end(wish);
      return;
    }
    try {
      wish.pin ??= pinVersion(store);
    } catch {
      // It has gone meanwhile, as the lookup is going to say.
      end(wish);
      return;
    }
    const part = ids.slice(given, given + PART_IDS);
    wish.given += part.length;
    wish.reading++;
    if (wish.given < ids.length) this.begun.push(wish);
    const thread = this.idle.pop() ?? this.start();
    this.busy.set(thread, wish);
    const asked: ColdPart = { wish: number, pinned: wish.pin.version, ids: part, question };
    thread.postMessage(asked, []);
  }

  private start(): Worker {
    const thread = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
    thread.unref();
    thread.on('message', () => {
      this.idle.push(thread);
      this.takeBack(thread);
    });
    // Nothing is lost with one that dies but time.
    thread.on('error', () => {});
    thread.on('exit', () => {
      this.idle = this.idle.filter((each) => each !== thread);
      this.takeBack(thread);
    });
    return thread;
  }

  private takeBack(thread: Worker): void {
    const wish = this.busy.get(thread);
    if (wish === undefined) return;
    this.busy.delete(thread);
    if (--wish.reading === 0 && wish.given === wish.ids.length) end(wish);
    this.lend();
  }

  private rest(): void {
    for (const thread of this.idle.splice(0)) void thread.terminate();
  }
}

function end({ pin, done }: Wish): void {
  pin?.release();
  done();
}

/** Of a version that another process has retired just now the file may be gone already: 0. */
function bytesOf({ environment }: VersionStore): number {
  try {
    return environment.bytes();
  } catch {
    return 0;
  }
}

/** Of the entities those that cannot be answered from what is resident. */
function coldIds(store: VersionStore, ids: readonly string[], question: Question): string[] {
  const { timelines, vectors, horizon, erasures } = store;
  const inMemory = {
    timelines: timelines.inMemory,
    horizon,
    erasures,
  };
  const { statuses, reasons, vectorIds } = resolveMany(inMemory, ids, question);
  return ids.filter((_, row) => {
    if (statuses[row] === code.PRESENT) return !vectors.isResident(vectorIds[row]!);
    return (
      statuses[row] === code.NOT_FOUND &&
      (reasons[row] === code.NO_REASON || reasons[row] === code.NOT_YET_KNOWN)
    );
  });
}
