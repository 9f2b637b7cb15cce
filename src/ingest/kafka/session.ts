import { setTimeout as delay } from 'node:timers/promises';

import type { Consumer, Kafka } from 'kafkajs';

import type { SourceConfig } from '../source-config.ts';
import { BrokerView } from './broker-view.ts';
import type { Log } from './client.ts';
import { Partitions } from './partitions.ts';
import { Reader, type ReaderParts } from './reader.ts';
import { endOf, isHalting, type SessionEnd } from './session-end.ts';
import { Upkeep } from './upkeep.ts';

/** Partitions worked on at once: their commits share flushes, their texts share batches. */
export const PARTITIONS_AT_ONCE = 4;
/** Bytes of a partition in one fetch, before decompression. */
const FETCH_BYTES = 4 * 1_048_576;
const HEARTBEAT_MS = 2_000;
/** How long the group waits for a member that is gone: a killed process delays the next this long. */
const GROUP_SESSION_MS = 10_000;
/** A stop waits this long for a fetch that brings nothing. */
const FETCH_WAIT_MS = 500;
/** A client that does not close in this time is left to itself; whatever it still does is fenced. */
const CLOSE_MS_MAX = 30_000;
/** One that failed may be waiting for answers that will not come. */
const CLOSE_FAILED_MS_MAX = 3_000;

/** How a source reads; what of it is particular to one is its group. */
export const CONSUMER = {
  allowAutoTopicCreation: false,
  sessionTimeout: GROUP_SESSION_MS,
  rebalanceTimeout: 3 * GROUP_SESSION_MS,
  heartbeatInterval: HEARTBEAT_MS,
  maxBytesPerPartition: FETCH_BYTES,
  maxBytes: PARTITIONS_AT_ONCE * FETCH_BYTES,
  maxWaitTimeInMs: FETCH_WAIT_MS,
  metadataMaxAge: 30_000,
  retry: { retries: 5, restartOnFailure: async () => false },
};

/** How often and how long, in ms. */
export interface Pace {
  /** Between looks at the brokers: offsets are reported, lag is read, silence is noticed. */
  tick: number;
  /** Without a fetch or a heartbeat for this long, the client is replaced. */
  silence: number;
  /** Before the first try again; doubled up to the longest. */
  retry: number;
  retryLongest: number;
}

export interface SessionParts extends ReaderParts {
  config: SourceConfig;
  /** See `Partitions`. */
  from: SourceConfig['from'];
  keepsStart: boolean;
  /** Called when it is stored where every partition begins. */
  located: () => void;
  client: Kafka;
  groupId: string;
  pace: Pace;
  log: Log;
}

/**
 * One life of a Kafka client: from connecting to a crash, a halt or a stop. Where it reads is
 * decided by the stored offsets alone, at every join of the group (A12); what the brokers are told
 * of offsets is for the eyes of operators.
 */
export class Session {
  readonly partitions: Partitions;
  private parts: SessionParts;
  private consumer: Consumer;
  private view: BrokerView;
  private upkeep: Upkeep;
  private reader: Reader;
  private end = Promise.withResolvers<SessionEnd>();
  private over = new AbortController();
  private joins = 0;
  private lastSign = performance.now();
  private ticking = false;

  constructor(parts: SessionParts) {
    this.parts = parts;
    this.partitions = new Partitions(parts);
    this.view = new BrokerView(parts.client);
    this.consumer = parts.client.consumer({ ...CONSUMER, groupId: parts.groupId });
    this.upkeep = new Upkeep(parts, this.view, this.consumer, this.partitions);
    this.reader = new Reader(parts, {
      consumer: this.consumer,
      view: this.view,
      partitions: this.partitions,
      over: this.over.signal,
      fail: (reason) => this.finish(endOf(reason)),
      heartbeatMs: HEARTBEAT_MS,
    });
  }

  /** What keeps the source from all that it should do. */
  get trouble(): string | undefined {
    return this.reader.failure ?? this.upkeep.foreign;
  }

  get hasJoined(): boolean {
    return this.joins > 0;
  }

  get isReading(): boolean {
    return this.hasJoined && !this.isOver;
  }

  /** Reads until `stop`, a halt or a failure, and closes the client. Never rejects. */
  async run(): Promise<SessionEnd> {
    const opening = this.open().catch((error: unknown) => this.finish(endOf(error)));
    const ticker = setInterval(() => void this.tick(), this.parts.pace.tick);
    const end = await this.end.promise;
    clearInterval(ticker);
    const patience = end.kind === 'failed' ? CLOSE_FAILED_MS_MAX : CLOSE_MS_MAX;
    await Promise.race([this.close(opening), delay(patience, undefined, { ref: false })]);
    return end;
  }

  /** What is being committed is finished. */
  stop(): void {
    this.finish({ kind: 'stopped' });
  }

  private finish(end: SessionEnd): void {
    this.end.resolve(end);
    this.over.abort();
  }

  private get isOver(): boolean {
    return this.over.signal.aborted;
  }

  private async open(): Promise<void> {
    const { config } = this.parts;
    await this.partitions.locate(this.view);
    this.parts.located();
    this.listen();
    await this.consumer.connect();
    // Only a partition that was never read, or that shrank, is ever read where this says.
    await this.consumer.subscribe({ topics: config.topics, fromBeginning: true });
    if (this.isOver) return;
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
      eachBatch: (payload) => this.reader.onBatch(payload),
    });
  }

  private async close(opening: Promise<void>): Promise<void> {
    try {
      await opening;
      await this.reader.settle();
      if (this.hasJoined) await this.upkeep.reportOffsets();
    } catch (error) {
      this.parts.log.debug({ err: error }, 'the brokers were not told of the last offsets');
    }
    await Promise.allSettled([this.consumer.disconnect(), this.view.close()]);
  }

  private listen(): void {
    const { consumer } = this;
    const { CRASH, END_BATCH_PROCESS, FETCH, GROUP_JOIN, HEARTBEAT } = consumer.events;
    const alive = () => (this.lastSign = performance.now());
    consumer.on(FETCH, alive);
    consumer.on(HEARTBEAT, alive);
    consumer.on(GROUP_JOIN, ({ payload }) => this.onJoin(payload.memberAssignment));
    consumer.on(END_BATCH_PROCESS, ({ payload }) => {
      alive();
      // A batch of nothing but aborted records and markers comes by here only.
      if (payload.batchSize === 0) {
        this.partitions.at(payload.topic, payload.partition).fetch =
          BigInt(payload.lastOffset) + 1n;
      }
    });
    consumer.on(CRASH, ({ payload }) => this.finish(endOf(payload.error)));
  }

  /** Synchronous to the last: the first fetch comes right after and uses what was sought. */
  private onJoin(assignment: Record<string, number[]>): void {
    if (this.isOver) return;
    this.joins++;
    this.lastSign = performance.now();
    this.partitions.assign(assignment);
    this.reader.joined();
    void this.tick();
  }

  private async tick(): Promise<void> {
    const { log, pace } = this.parts;
    const silent = performance.now() - this.lastSign;
    if (silent > pace.silence) {
      this.finish({ kind: 'failed', message: `Kafka was silent for ${Math.round(silent)} ms` });
    }
    if (this.ticking || this.isOver || this.joins === 0) return;
    this.ticking = true;
    try {
      await this.upkeep.run();
    } catch (error) {
      if (isHalting(error)) this.finish(endOf(error));
      else log.debug({ err: error }, 'a look at the brokers failed');
    } finally {
      this.ticking = false;
    }
  }
}
