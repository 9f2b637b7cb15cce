import type { CommitLine } from './commit-line.ts';

/** What the broker holds of a partition: the offsets from `low` up to, not including, `high`. */
export interface HeldOffsets {
  low: bigint;
  high: bigint;
}

/**
 * How the next offset to read stands to what the broker holds: `lost` where records were deleted
 * before they were read, `shrunk` where the log ends before it, so that it is not the log that was
 * read so far.
 */
export type Standing = 'within' | 'lost' | 'shrunk';

export function standing(next: bigint, { low, high }: HeldOffsets): Standing {
  if (next < low) return 'lost';
  return next > high ? 'shrunk' : 'within';
}

/** How far one partition has been read. */
export class Position {
  readonly topic: string;
  readonly partition: number;
  /** Where reading starts while nothing is stored. */
  start: bigint;
  /** The next offset to read, as the store has it; undefined before the partition's first commit. */
  stored: bigint | undefined;
  /** What the stored offset will be when the commits under way are done. */
  sent: bigint | undefined;
  /** Where the next fetch is to start. A batch that starts elsewhere was moved by the client. */
  fetch: bigint;
  /** The broker's high watermark, when last seen. */
  high: bigint;
  /** The commits under way. */
  line: CommitLine | undefined;
  /** True while a batch of the partition is being worked on. */
  isReading = false;
  /** True after a failure, until it is read again from what is stored. */
  isRecovering = false;
  /** The timestamp of the last committed record that has one, µs. */
  reached: number | undefined;
  /** The stored offset that the brokers were last told. */
  reported: bigint | undefined;

  constructor(topic: string, partition: number, stored: bigint | undefined, held: HeldOffsets) {
    this.topic = topic;
    this.partition = partition;
    this.high = held.high;
    this.start = held.low;
    this.stored = stored;
    this.sent = stored;
    this.fetch = stored ?? held.low;
  }

  /** From here on, nothing is known but what is stored. */
  resume(stored: bigint | undefined): void {
    this.stored = stored;
    this.sent = stored;
    this.fetch = stored ?? this.start;
  }

  /** A commit that leaves this offset is under way. */
  send(next: bigint): void {
    this.sent = next;
    this.fetch = next;
  }

  /** Takes note of how far in time it has been read; a negative timestamp is none. */
  reach(timestamp: number): void {
    if (timestamp >= 0) this.reached = timestamp;
  }

  /** False while the stored offset is about to move. */
  get isIdle(): boolean {
    return !this.isReading && !this.isRecovering && (this.line?.isIdle ?? true);
  }

  /** Records up to the high watermark that are not stored yet. */
  get lag(): number {
    return Math.max(0, Number(this.high - (this.stored ?? this.start)));
  }

  /** How old the last committed record is, in seconds, while there is a lag. `now` in µs. */
  lagSeconds(now: number): number {
    return this.lag === 0 || this.reached === undefined ? 0 : Math.max(0, now - this.reached) / 1e6;
  }
}
