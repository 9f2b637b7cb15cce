import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { isSystemError, systemWords } from '../ground/system-error.ts';
import { type Micros, micros } from '../ground/time.ts';
import type { CommitRequest, CommitResult } from './batch.ts';
import type { Catalogue, Moment } from './catalogue.ts';
import { Commit } from './commit.ts';
import { NotFlushed } from './environment.ts';
import type { VersionFiles } from './version-files.ts';
import type { VersionStore } from './version-store.ts';

/** Seqs are reserved in blocks, durably and before use, so that none is ever given twice. */
const SEQ_BLOCK = 2 ** 20;
/** Requests that wait together are committed together, up to this many rows. */
const GROUP_ROWS_MAX = 10_000;
/** Commits on their way to the disk at once; more would only wait there. */
const UNFLUSHED_MAX = 4;

interface Waiting {
  version: VersionStore;
  request: CommitRequest;
  resolve: (result: CommitResult) => void;
  reject: (error: unknown) => void;
}

/** Work that wants the writer to itself. */
interface Step {
  work: () => Promise<void>;
}

/**
 * The one writer of a store. Requests are committed in the order of their arrival, those of one
 * version that wait together in one transaction; each is answered when it is durable.
 *
 * The watermark is the greatest seq at and below which everything is durable. It is what reads are
 * bounded by and what is handed out as a snapshot (A9).
 */
export class Writer {
  private catalogue: Catalogue;
  private clock: () => number;
  private queue: (Waiting | Step)[] = [];
  private running: Promise<void> | undefined;
  /** The request that was asked last. */
  private asked: Promise<unknown> = Promise.resolve();
  private publishing: Promise<void> = Promise.resolve();
  /** The answers to come, the oldest first. */
  private unflushed: Promise<void>[] = [];
  private nextSeq: number;
  private reserved: number;
  private lastCreated: number;
  private durable: number;
  /** Seqs are another's to give. */
  private follows: boolean;
  private broken: unknown;
  private refused: string | undefined;
  private moved = Promise.withResolvers<void>();
  /** A commit has its seqs, and is not there to be read yet. */
  private isCommitting = false;
  /** The seq of the last moment that was taken meanwhile. */
  private heldBack: number | undefined;

  /** `versions`: those that exist, to go on from. `clock`: now, µs. */
  constructor(catalogue: Catalogue, versions: readonly VersionFiles[], clock: () => number) {
    this.catalogue = catalogue;
    this.clock = clock;
    this.reserved = catalogue.seqReserved();
    this.nextSeq = this.reserved + 1;
    // Whatever an earlier process gave a seq to is durable by now, or will never be. Of a replica
    // only what was applied in all of its versions is.
    const following = catalogue.following();
    this.durable = following?.applied ?? this.reserved;
    this.follows = following !== undefined;
    const times = versions.map((version) => version.counters().lastCreated);
    const horizons = catalogue.views().map(({ horizon }) => (horizon?.moment ?? -Infinity) + 1);
    this.lastCreated = Math.max(-Infinity, ...times, ...horizons);
  }

  /** The watermark: everything at and below this seq is durable. */
  get snapshot(): number {
    return this.durable;
  }

  now(): Micros {
    return micros(this.clock());
  }

  /** Whether this is the writer of a replica, which gives no seqs. */
  get isFollowing(): boolean {
    return this.follows;
  }

  /** Why nothing can be written any more: a flush failed, and what the disk holds is unknown. */
  get failure(): string | undefined {
    return this.broken === undefined ? undefined : unavailable(this.broken).message;
  }

  /** Why the last commit was refused; undefined once one has gone through again. */
  get refusal(): string | undefined {
    return this.refused;
  }

  /** Rows that wait for their commit. */
  get waitingRows(): number {
    return this.queue.reduce(
      (sum, waiting) => sum + ('request' in waiting ? waiting.request.rows.rows : 0),
      0,
    );
  }

  /** Resolves when the watermark moves next, or when it never will again. */
  async nextMove(): Promise<void> {
    await this.moved.promise;
  }

  /**
   * A seq and a created time for a change of the catalogue, which is to be stored before anything
   * is awaited. Everything committed before it has a smaller seq.
   * Throws STORE_UNAVAILABLE.
   */
  takeMoment(): Moment {
    if (this.broken !== undefined) throw unavailable(this.broken);
    assert(!this.follows, 'a replica gives no seqs');
    if (this.nextSeq > this.reserved) {
      const upTo = this.nextSeq + SEQ_BLOCK;
      try {
        this.catalogue.reserveSeqsSync(upTo);
      } catch (error) {
        throw unavailable(error);
      }
      this.reserved = upTo;
    }
    const seq = this.nextSeq++;
    const created = (this.lastCreated = Math.max(this.lastCreated, this.clock()));
    // No snapshot may hold this one while what has smaller seqs is still to come (A9).
    if (this.isCommitting) this.heldBack = seq;
    else this.publish(undefined, [], seq, Promise.resolve());
    return { seq, created: micros(created) };
  }

  /** Sees to it that nothing is created at or before `moment` any more. */
  closeCreated(moment: number): void {
    this.lastCreated = Math.max(this.lastCreated, moment + 1);
  }

  /** Runs `work` when all that was asked before is durable, and nothing else is written meanwhile. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.broken !== undefined) throw unavailable(this.broken);
    const done = Promise.withResolvers<T>();
    this.queue.push({
      work: async () => {
        await this.publishing;
        try {
          done.resolve(await work());
        } catch (error) {
          if (error instanceof NotFlushed) this.fail(error);
          done.reject(error);
        }
      },
    });
    this.asked = done.promise.catch(() => {});
    this.running ??= this.run();
    return done.promise;
  }

  /** Gives no more seqs; before anybody has asked, no more than what is up to `seq` is here. */
  standAt(seq: number): void {
    this.follows = true;
    this.durable = seq;
  }

  /** Says that everything up to `seq` is durable: the snapshot is there on return. */
  advance(seq: number): void {
    if (seq <= this.durable) return;
    this.durable = seq;
    this.wake();
  }

  /**
   * Goes on by itself after following, with seqs that nobody has given to anything and later than
   * `lastCreated`, µs.
   */
  lead(lastCreated: number): void {
    this.closeCreated(lastCreated - 1);
    this.reserved = this.catalogue.seqReserved();
    this.nextSeq = this.reserved + 1;
    this.follows = false;
    this.advance(this.reserved);
  }

  /** What is on the disk is unknown now: nothing more is written, or counts as durable. */
  fail(error: unknown): void {
    this.broken ??= error;
    this.wake();
  }

  /**
   * Commits the request; resolves when it is durable and visible to reads at the snapshot it gives.
   * Rejects with STORE_UNAVAILABLE when the disk refuses: then nothing of it was stored.
   */
  async commit(version: VersionStore, request: CommitRequest): Promise<CommitResult> {
    if (this.broken !== undefined) throw unavailable(this.broken);
    assert(
      request.rows.vectorBytes === version.vectors.vectorBytes,
      'rows are of the version that they are committed to',
    );
    const result = new Promise<CommitResult>((resolve, reject) => {
      this.queue.push({ version, request, resolve, reject });
    });
    this.asked = result.catch(() => {});
    this.running ??= this.run();
    return result;
  }

  /** Resolves when all that was asked so far has been answered. */
  async drain(): Promise<void> {
    // Not until nothing is asked any more: others may go on asking for ever.
    await this.asked;
    await this.publishing;
  }

  private async run(): Promise<void> {
    // Let the requests of this turn of the event loop gather first.
    await Promise.resolve();
    while (this.queue.length > 0) {
      const first = this.queue[0]!;
      if ('work' in first) {
        this.queue.shift();
        await first.work();
        continue;
      }
      const group = this.takeGroup(first.version);
      try {
        await this.commitGroup(group);
      } catch (error) {
        // One request must not take down those that happened to wait beside it.
        if (group.length === 1) this.refuse(group[0]!, error);
        else for (const one of group) await this.commitAlone(one);
      }
      // One gone makes room for the next: the disk is never left without work.
      if (this.unflushed.length >= UNFLUSHED_MAX) await this.unflushed[0];
    }
    this.running = undefined;
  }

  /** The waiting requests of one version, from the front. */
  private takeGroup(version: VersionStore): Waiting[] {
    const group: Waiting[] = [];
    let rows = 0;
    for (const waiting of this.queue) {
      if ('work' in waiting || waiting.version !== version) break;
      rows += waiting.request.rows.rows;
      if (group.length > 0 && rows > GROUP_ROWS_MAX) break;
      group.push(waiting);
    }
    this.queue.splice(0, group.length);
    return group;
  }

  private async commitAlone(one: Waiting): Promise<void> {
    try {
      await this.commitGroup([one]);
    } catch (error) {
      this.refuse(one, error);
    }
  }

  private async commitGroup(group: readonly Waiting[]): Promise<void> {
    if (this.broken !== undefined) throw unavailable(this.broken);
    const { version } = group[0]!;
    const rows = group.reduce((sum, { request }) => sum + request.rows.rows, 0);
    if (this.nextSeq + rows > this.reserved) {
      const upTo = this.nextSeq + rows + SEQ_BLOCK;
      await this.catalogue.reserveSeqs(upTo);
      this.reserved = upTo;
    }
    const bytes = group.reduce((sum, { request }) => sum + request.rows.payloadTotal, 0);
    let seq = this.nextSeq;
    // A seq that was tried is not tried again, whatever becomes of the transaction.
    this.nextSeq += rows;
    const created = (this.lastCreated = Math.max(this.lastCreated, this.clock()));
    this.isCommitting = true;
    try {
      const results = await version.environment.commit(() => {
        const counters = version.counters();
        const applied = group.map(({ request }) => {
          const commit = new Commit(version, counters, request);
          const done = commit.apply(seq, created);
          seq += request.rows.rows;
          const { outcomes, confirmations, deadLetters } = commit;
          return { outcomes, confirmations, deadLetters, fenced: !done };
        });
        version.putCounters(counters);
        return applied;
      }, bytes);
      this.refused = undefined;
      this.publish(group, results, seq - 1, version.environment.flushed());
    } catch (error) {
      if (error instanceof NotFlushed) this.fail(error);
      throw error;
    } finally {
      this.isCommitting = false;
      if (this.heldBack !== undefined) {
        this.publish(undefined, [], this.heldBack, Promise.resolve());
      }
      this.heldBack = undefined;
    }
  }

  private refuse({ reject }: Waiting, error: unknown): void {
    const answer = unavailable(error);
    // That an entity was erased is about the request, and not for all to read.
    if (answer.code !== 'ENTITY_ERASED') this.refused = answer.message;
    reject(answer);
  }

  /** Answers the group when it is durable, after all those before it. */
  private publish(
    group: readonly Waiting[] | undefined,
    results: readonly Omit<CommitResult, 'snapshot'>[],
    upTo: number,
    flushed: Promise<void>,
  ): void {
    const before = this.publishing;
    const settle = async (): Promise<void> => {
      try {
        await before;
        await flushed;
        // What has a smaller seq is not durable, and will never be (A9).
        if (this.broken !== undefined) throw this.broken;
        group?.[0]!.version.environment.refresh();
        this.advance(upTo);
        group?.forEach(({ resolve }, at) => resolve({ ...results[at]!, snapshot: this.durable }));
      } catch (error) {
        this.fail(error);
        for (const { reject } of group ?? []) reject(unavailable(error));
      } finally {
        void this.unflushed.shift();
      }
    };
    this.publishing = settle();
    this.unflushed.push(this.publishing);
  }

  private wake(): void {
    const { resolve } = this.moved;
    this.moved = Promise.withResolvers();
    resolve();
  }
}

/** What the disk or the database refused, as an error for the caller. */
export function unavailable(cause: unknown): TidemarkError {
  if (cause instanceof TidemarkError) return cause;
  const said = cause instanceof Error ? cause.message : String(cause);
  const why = isSystemError(cause) ? systemWords(cause) : said;
  const message =
    cause instanceof NotFlushed
      ? `the disk did not take a flush: ${why}; nothing more is written until a restart, ` +
        'which goes on from the last flush'
      : `the write was not stored: ${why}; look at the disk and try again`;
  return new TidemarkError('STORE_UNAVAILABLE', message, { cause });
}
