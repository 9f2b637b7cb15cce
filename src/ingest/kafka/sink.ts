import { setTimeout as delay } from 'node:timers/promises';

import { assert } from '../../ground/assert.ts';
import type { KafkaConnection } from '../source-config.ts';
import type { Log } from './client.ts';
import { BATCH_MESSAGES, type Outbox, type Parcel } from './outbox.ts';
import { isTooLarge, Publisher } from './publisher.ts';
import { messageOf } from './session-end.ts';

export interface SinkOptions {
  /** As the configuration has it; of a source's dead letters, `dead letters of` the source. */
  name: string;
  outbox: Outbox;
  connection: KafkaConnection;
  log: Log;
  pace?: Partial<SinkPace>;
}

/** How long, in ms. */
interface SinkPace {
  /** Between looks into an empty outbox. */
  idle: number;
  /** Before the first try again; doubled up to the longest. */
  retry: number;
  retryLongest: number;
}

/** `degraded`: what is to be published waits, and is tried again; the message says why. */
type SinkState = 'starting' | 'running' | 'degraded' | 'stopped';

export interface SinkStatus {
  name: string;
  state: SinkState;
  message?: string;
}

const PACE: SinkPace = { idle: 100, retry: 250, retryLongest: 10_000 };
/** A stop waits this long for brokers that do not answer. What they took is published again then. */
const STOP_MS_MAX = 5_000;

/**
 * Publishes what an outbox holds, in its order, at least once: the position moves on when the
 * brokers have acknowledged, and after a failure or a crash all after it is published again.
 */
export class Sink {
  /** They only grow. */
  readonly counters = { published: 0, errors: 0, tooLarge: 0 };
  private options: SinkOptions;
  private publisher: Publisher;
  private stopping = new AbortController();
  private running: Promise<void> | undefined;
  private trouble: string | undefined;
  private hasLooked = false;
  /** Messages of the next batch at most: few after one that was too large. */
  private limit = BATCH_MESSAGES;

  constructor(options: SinkOptions) {
    this.options = options;
    const { connection, name, log } = options;
    this.publisher = new Publisher(connection, `tidemark-${name.replaceAll(' ', '-')}`, log);
  }

  get name(): string {
    return this.options.name;
  }

  /** Starts publishing, in the background. Whether it succeeds is for `status` to say. */
  start(): void {
    assert(this.running === undefined, 'a sink is started once');
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.race([this.running, delay(STOP_MS_MAX, undefined, { ref: false })]);
    await Promise.race([this.publisher.close(), delay(STOP_MS_MAX, undefined, { ref: false })]);
  }

  status(): SinkStatus {
    const { name } = this.options;
    if (this.isStopped) return { name, state: 'stopped' };
    if (this.trouble !== undefined) return { name, state: 'degraded', message: this.trouble };
    return { name, state: this.hasLooked ? 'running' : 'starting' };
  }

  /** What is not published yet; nothing where the version is not there. */
  waiting(): { records: number; seconds?: number } | undefined {
    try {
      return this.options.outbox.waiting();
    } catch {
      return undefined;
    }
  }

  private get isStopped(): boolean {
    return this.stopping.signal.aborted || this.running === undefined;
  }

  private async run(): Promise<void> {
    const pace = { ...PACE, ...this.options.pace };
    let wait = pace.retry;
    while (!this.stopping.signal.aborted) {
      try {
        const parcel = await this.options.outbox.next(this.limit);
        if (parcel !== undefined) await this.publish(parcel);
        this.hasLooked = true;
        this.trouble = undefined;
        wait = pace.retry;
        if (parcel === undefined) await this.rest(pace.idle);
      } catch (error) {
        this.note(error);
        await this.rest(wait);
        wait = Math.min(wait * 2, pace.retryLongest);
      }
    }
  }

  private async publish(parcel: Parcel): Promise<void> {
    const { topic, messages } = parcel;
    const { log, name, outbox } = this.options;
    try {
      if (messages.length > 0) await this.publisher.send(topic, messages);
      await parcel.acknowledge();
      this.counters.published += messages.length;
      this.limit = Math.min(this.limit * 2, BATCH_MESSAGES);
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      if (messages.length > 1) {
        this.limit = 1;
        return;
      }
      if (!outbox.passesByTooLarge) throw error;
      this.counters.tooLarge++;
      log.error({ sink: name, topic }, 'a message is larger than the topic takes: it is passed by');
      await parcel.acknowledge();
    }
  }

  private note(error: unknown): void {
    const { log, name } = this.options;
    if (this.stopping.signal.aborted) return;
    this.counters.errors++;
    this.trouble = messageOf(error);
    log.warn({ sink: name, err: error }, 'publishing failed and is tried again');
  }

  private async rest(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.stopping.signal }).catch(() => {});
  }
}
