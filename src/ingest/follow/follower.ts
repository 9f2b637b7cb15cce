import { setTimeout as delay } from 'node:timers/promises';

import { assert } from '../../ground/assert.ts';
import { TidemarkError, type ErrorCode } from '../../ground/errors.ts';
import {
  CHANGES_FORMAT_MAX,
  type Hello,
  readFrames,
  type Watermark,
} from '../../store/change-frames.ts';
import type { LeaderItem } from '../../store/leader.ts';
import type { Store } from '../../store/store.ts';
import type { Log } from '../kafka/client.ts';
import { Applier } from './applier.ts';
import { streamChanges } from './leader.ts';

export interface FollowerOptions {
  /** The leader's address. */
  url: string;
  store: Store;
  log: Log;
  /** How long to wait after so many failures in a row, ms; with chance in it. */
  backoff: (failures: number) => number;
  /** How long a leader may say nothing, ms; it says something every second. */
  silenceMs?: number;
}

/** `diverged`: the leader has another past; nothing is stored until that is mended. */
export type FollowerState = 'connecting' | 'catching_up' | 'following' | 'diverged' | 'stopped';

export interface FollowerStatus {
  state: FollowerState;
  leader: string;
  /** Whether the leader's watermark of the first connection was reached, and it follows on from there. */
  isReady: boolean;
  connected: boolean;
  /** The leader's snapshot less the one here; null before it was heard of. */
  lag_seqs: number | null;
  /** How old what is here is; 0 when it is all that there is, null before anything is known. */
  lag_seconds: number | null;
  /** What went wrong last, while it does. */
  message?: string;
}

const SILENCE_MS = 15_000;

/**
 * Keeps a store what its leader is: asks for the changes after its own snapshot, stores them, and
 * asks again whenever the connection ends, for ever. Where it is, the store alone remembers.
 */
export class Follower {
  private options: FollowerOptions;
  private stopping = new AbortController();
  private running: Promise<void> | undefined;
  private promoting: Promise<void> | undefined;
  private connected = false;
  private failure: unknown;
  private failures = 0;
  /** The leader's watermark when it was first heard of. */
  private goal: number | undefined;
  private hasCaughtUp = false;
  private heard: { watermark: Watermark; at: number } | undefined;
  /** All that the leader had at that moment of its clock is here. */
  private completeAt: number | undefined;

  constructor(options: FollowerOptions) {
    this.options = options;
  }

  /** Starts following, in the background. Whether it succeeds is for `status` to say. */
  start(): void {
    assert(this.running === undefined, 'a follower is started when it is not running');
    this.options.store.replica.aim(this.options.url);
    this.stopping = new AbortController();
    this.running = this.run();
  }

  /** Finishes what is being stored. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    this.running = undefined;
  }

  /** Makes the store a leader of its own, or goes on following where it cannot; see `Replica.promote`. */
  async promote(random: () => number): Promise<void> {
    // Asked twice at once, it is done once.
    await (this.promoting ??= this.promoteOnce(random).finally(() => (this.promoting = undefined)));
  }

  private async promoteOnce(random: () => number): Promise<void> {
    const { store } = this.options;
    await this.stop();
    try {
      await store.replica.promote(random);
    } catch (error) {
      if (store.following !== undefined) this.start();
      throw error;
    }
  }

  status(): FollowerStatus {
    const { url, store } = this.options;
    const { heard, failure } = this;
    const message = failure === undefined ? undefined : messageOf(failure);
    const lag = heard && Math.max(0, heard.watermark.snapshot - store.snapshot);
    const state = this.state(lag);
    return {
      state,
      leader: url,
      isReady: this.hasCaughtUp && state !== 'diverged' && state !== 'stopped',
      connected: this.connected,
      lag_seqs: lag ?? null,
      lag_seconds: this.lagSeconds(lag),
      ...(message !== undefined && { message }),
    };
  }

  private state(lag: number | undefined): FollowerState {
    if (this.stopping.signal.aborted) return 'stopped';
    if (this.failure instanceof TidemarkError && this.failure.code === 'REPLICA_DIVERGED') {
      return 'diverged';
    }
    if (!this.connected) return 'connecting';
    return this.hasCaughtUp && lag === 0 ? 'following' : 'catching_up';
  }

  private lagSeconds(lag: number | undefined): number | null {
    if (this.connected && lag === 0) return 0;
    if (this.heard === undefined || this.completeAt === undefined) return null;
    const { watermark, at } = this.heard;
    const now = watermark.time + (performance.now() - at) * 1_000;
    return Math.max(0, now - this.completeAt) / 1e6;
  }

  private async run(): Promise<void> {
    const { url, log, backoff } = this.options;
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const failure = await this.session();
      this.connected = false;
      if (signal.aborted) return;
      const before = this.failure;
      this.failure = failure;
      // Each try of a leader that is away is not worth a line.
      if (before === undefined || messageOf(before) !== messageOf(failure)) {
        log.warn({ leader: url }, `the leader is asked again: ${messageOf(failure)}`);
      }
      await delay(backoff(this.failures++), undefined, { signal }).catch(() => {});
    }
  }

  /** One connection, from asking to its end. Why it ended. */
  private async session(): Promise<unknown> {
    const { url, store, silenceMs = SILENCE_MS } = this.options;
    const over = new AbortController();
    const signal = AbortSignal.any([this.stopping.signal, over.signal]);
    const applier = new Applier(
      store.replica,
      (watermark, items) => this.onApplied(watermark, items),
      (error) => over.abort(error),
    );
    try {
      const stream = streamChanges(url, store.replica.after, silenceMs, signal);
      for await (const { frame, bytes } of readFrames(stream)) {
        if (frame.type === 'hello') await this.greet(frame);
        else if (frame.type === 'error') {
          throw new TidemarkError(frame.code as ErrorCode, `${url} says: ${frame.detail}`);
        } else if (frame.type === 'watermark') {
          this.heard = { watermark: frame, at: performance.now() };
          await applier.reach(frame);
        } else applier.add(frame, bytes);
      }
      return new Error(`${url} closed the connection`);
    } catch (error) {
      return error;
    } finally {
      await applier.settle();
    }
  }

  private async greet({ format, lineage, erasure_key, snapshot }: Hello): Promise<void> {
    const { url, store } = this.options;
    if (format > CHANGES_FORMAT_MAX) {
      throw new Error(
        `${url} sends changes in the format ${format}, expected up to ${CHANGES_FORMAT_MAX}`,
      );
    }
    await store.replica.follow({ url, lineage, erasureKey: erasure_key });
    this.connected = true;
    this.goal ??= snapshot;
  }

  private onApplied(watermark: Watermark, items: readonly LeaderItem[]): void {
    const { store, log, url } = this.options;
    this.failure = undefined;
    this.failures = 0;
    if (watermark.up_to >= watermark.snapshot) this.completeAt = watermark.time;
    else this.completeAt = lastCreated(items) ?? this.completeAt;
    if (!this.hasCaughtUp && store.snapshot >= this.goal!) {
      this.hasCaughtUp = true;
      log.info({ leader: url, snapshot: store.snapshot }, 'caught up with the leader');
    }
  }
}

function lastCreated(items: readonly LeaderItem[]): number | undefined {
  const last = items.findLast((item) => 'changes' in item);
  return last?.changes.at(-1)?.created;
}

/** What fetch says last: that it failed; why is its cause's to say. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
  return `${error.message}${code}`;
}
