import { setTimeout as delay } from 'node:timers/promises';

import type { Consumer, EachBatchPayload } from 'kafkajs';

import { type BatchParts, sendBatch } from './batch.ts';
import type { BrokerView } from './broker-view.ts';
import type { Log } from './client.ts';
import { CommitLine } from './commit-line.ts';
import { type LossParts, mindDataLoss } from './data-loss.ts';
import { Fenced } from './destination.ts';
import type { Partitions } from './partitions.ts';
import type { Position } from './position.ts';
import { isHalting, messageOf } from './session-end.ts';

export interface ReaderParts extends BatchParts, LossParts {
  config: BatchParts['config'] & LossParts['config'];
  pace: { retry: number; retryLongest: number };
  log: Log;
}

interface ReaderSession {
  consumer: Consumer;
  view: BrokerView;
  partitions: Partitions;
  /** Aborted when the session is over. */
  over: AbortSignal;
  /** Ends the session. */
  fail(reason: unknown): void;
  heartbeatMs: number;
}

/**
 * Takes the batches that kafkajs fetches, and has what fails read again: the partition is paused,
 * and after a while sought back to what is stored, while the others go on.
 */
export class Reader {
  /** What failed last, until a commit succeeds. */
  failure: string | undefined;
  private parts: ReaderParts;
  private session: ReaderSession;
  /** Batches being worked on, and recoveries. */
  private work = new Set<Promise<void>>();
  private failures = 0;
  /** What a heartbeat was told: that the group forms anew, as a rule. */
  private interruption: Error | undefined;

  constructor(parts: ReaderParts, session: ReaderSession) {
    this.parts = parts;
    this.session = session;
  }

  /** Has every assigned partition read from its stored offset. Synchronous. */
  joined(): void {
    this.interruption = undefined;
    for (const position of this.session.partitions.assigned) this.rewind(position);
  }

  /** Throws nothing but what interrupts kafkajs itself: other errors would end its consumer. */
  async onBatch(payload: EachBatchPayload): Promise<void> {
    await this.track(this.read(payload));
    const { interruption } = this;
    this.interruption = undefined;
    if (interruption !== undefined) throw interruption;
  }

  /** Resolves when nothing is under way. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.work);
    for (const { line } of this.session.partitions.values()) await line?.settle();
  }

  private get isOver(): boolean {
    return this.session.over.aborted;
  }

  private async track(work: Promise<void>): Promise<void> {
    this.work.add(work);
    try {
      await work;
    } finally {
      this.work.delete(work);
    }
  }

  private rewind(position: Position): void {
    const { topic, partition } = position;
    position.resume(this.parts.destination.nextOffset(topic, partition));
    const line: CommitLine = new CommitLine({
      stored: () => {
        this.failure = undefined;
        this.failures = 0;
      },
      failed: (reason) => {
        if (position.line === line) void this.track(this.recover(reason, position));
      },
    });
    position.line = line;
    this.session.consumer.seek({ topic, partition, offset: String(position.fetch) });
  }

  private async read(payload: EachBatchPayload): Promise<void> {
    const { topic, partition, highWatermark } = payload.batch;
    const position = this.session.partitions.at(topic, partition);
    const { line } = position;
    if (this.isOver || position.isRecovering || line === undefined) return;
    position.high = BigInt(highWatermark);
    const until = this.parts.until?.(position);
    if (until !== undefined && position.fetch >= until) {
      this.session.consumer.pause([{ topic, partitions: [partition] }]);
      return;
    }
    position.isReading = true;
    const heartbeats = setInterval(() => {
      payload.heartbeat().catch((error: Error) => (this.interruption ??= error));
    }, this.session.heartbeatMs / 2);
    const leave = () =>
      this.isOver ||
      this.interruption !== undefined ||
      position.line !== line ||
      line.isBroken ||
      !payload.isRunning() ||
      payload.isStale();
    try {
      if (await this.startsAsAsked(payload, position, line)) {
        await sendBatch(this.parts, payload, position, line, leave);
      }
    } catch (error) {
      // It waits, and the other partitions need not wait with it.
      void this.track(this.recover(error, position));
    } finally {
      clearInterval(heartbeats);
      position.isReading = false;
    }
  }

  /**
   * Whether the batch starts where the fetch was to start. When the broker does not hold that
   * offset, kafkajs goes on elsewhere and says so nowhere else.
   */
  private async startsAsAsked(
    { batch }: EachBatchPayload,
    position: Position,
    line: CommitLine,
  ): Promise<boolean> {
    const { fetchedOffset } = batch as unknown as { fetchedOffset: string };
    if (BigInt(fetchedOffset) === position.fetch) return true;
    await line.settle();
    const held = (await this.session.view.heldOffsets(position.topic)).get(position.partition);
    if (held === undefined) throw new Error(`${batch.topic}/${batch.partition} is gone`);
    position.high = held.high;
    if (position.stored === undefined) {
      // A clean start begins wherever the log does.
      position.start = BigInt(fetchedOffset);
      position.fetch = position.start;
      return true;
    }
    this.parts.counters.offsetResets++;
    await mindDataLoss(this.parts, position, held);
    this.rewind(position);
    return false;
  }

  /** Has a partition read again after a failure, when that may be over. Never rejects. */
  private async recover(reason: unknown, position: Position): Promise<void> {
    if (this.isOver || position.isRecovering) return;
    const { consumer } = this.session;
    const { topic, partition, line } = position;
    const at = [{ topic, partitions: [partition] }];
    position.isRecovering = true;
    try {
      // Of a version that is gone nothing is to be tried again.
      if (isHalting(reason) || this.parts.destination.isGone) throw reason;
      consumer.pause(at);
      await line?.settle();
      await this.waitAfter(reason, position);
      if (this.isOver) return;
      // A join in between has sought already.
      if (position.line === line) this.rewind(position);
      consumer.resume(at);
    } catch (fatal) {
      this.session.fail(fatal);
    } finally {
      position.isRecovering = false;
    }
  }

  private async waitAfter(reason: unknown, { topic, partition }: Position): Promise<void> {
    const { counters, log, pace } = this.parts;
    if (reason instanceof Fenced) {
      counters.fenced++;
      log.warn({ topic, partition }, 'a commit was fenced: reading on from the stored offset');
      return;
    }
    counters.retries++;
    this.failure = messageOf(reason);
    log.warn({ topic, partition, err: reason }, 'a batch failed and is tried again');
    const wait = Math.min(pace.retry * 2 ** this.failures++, pace.retryLongest);
    await delay(wait, undefined, { signal: this.session.over }).catch(() => {});
  }
}
