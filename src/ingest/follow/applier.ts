import type { Watermark } from '../../store/change-frames.ts';
import type { LeaderItem } from '../../store/leader.ts';
import type { Replica } from '../../store/replica.ts';

/** What waits to be stored while more is read: one flush is then for all of it. */
const WAITING_BYTES_MAX = 16 * 2 ** 20;

interface Batch {
  items: LeaderItem[];
  bytes: number;
}

/** Stores what comes from a leader while more is coming, in as few steps as there is time for. */
export class Applier {
  private replica: Replica;
  private onApplied: (watermark: Watermark, items: readonly LeaderItem[]) => void;
  private onFailed: (error: unknown) => void;
  /** What has come since the last watermark. */
  private page: Batch = { items: [], bytes: 0 };
  /** What is to be stored next, whole up to its watermark. */
  private waiting: (Batch & { watermark: Watermark }) | undefined;
  private running: Promise<void> | undefined;
  private step: Promise<void> = Promise.resolve();
  private hasFailed = false;

  constructor(
    replica: Replica,
    onApplied: (watermark: Watermark, items: readonly LeaderItem[]) => void,
    onFailed: (error: unknown) => void,
  ) {
    this.replica = replica;
    this.onApplied = onApplied;
    this.onFailed = onFailed;
  }

  add(item: LeaderItem, bytes: number): void {
    this.page.items.push(item);
    this.page.bytes += bytes;
  }

  /** Has all that was added stored, in a while. Resolves when there is room for more. */
  async reach(watermark: Watermark): Promise<void> {
    const { page, waiting } = this;
    this.page = { items: [], bytes: 0 };
    this.waiting = {
      items: [...(waiting?.items ?? []), ...page.items],
      bytes: (waiting?.bytes ?? 0) + page.bytes,
      watermark,
    };
    this.running ??= this.run();
    while (!this.hasFailed && this.hasTooMuch()) await this.step;
  }

  private hasTooMuch(): boolean {
    return this.waiting !== undefined && this.waiting.bytes > WAITING_BYTES_MAX;
  }

  /** Resolves when nothing is being stored any more. */
  async settle(): Promise<void> {
    await this.running;
  }

  /** Never rejects. */
  private async run(): Promise<void> {
    while (this.waiting !== undefined && !this.hasFailed) {
      const { items, watermark } = this.waiting;
      this.waiting = undefined;
      this.step = this.apply(items, watermark);
      await this.step;
    }
    this.running = undefined;
  }

  private async apply(items: readonly LeaderItem[], watermark: Watermark): Promise<void> {
    try {
      const { up_to, seq_reserved, whole } = watermark;
      await this.replica.apply(items, up_to, seq_reserved, whole);
      this.onApplied(watermark, items);
    } catch (error) {
      this.hasFailed = true;
      this.onFailed(error);
    }
  }
}
