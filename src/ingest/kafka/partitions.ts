import type { BrokerView } from './broker-view.ts';
import { type LossParts, mindDataLoss } from './data-loss.ts';
import { Position } from './position.ts';

interface PartitionsParts extends LossParts {
  config: LossParts['config'] & { topics: string[]; from: 'beginning' | 'end' };
}

/** The partitions of a source's topics, and how far each has been read. */
export class Partitions {
  /** Those that this member of the group holds. */
  readonly assigned = new Set<Position>();
  private all = new Map<string, Position>();
  private parts: PartitionsParts;

  constructor(parts: PartitionsParts) {
    this.parts = parts;
  }

  get size(): number {
    return this.all.size;
  }

  values(): Iterable<Position> {
    return this.all.values();
  }

  at(topic: string, partition: number): Position {
    const key = `${topic}/${partition}`;
    let position = this.all.get(key);
    if (position === undefined) {
      // A partition that was added after the start is read from its first record.
      const stored = this.parts.destination.nextOffset(topic, partition);
      position = new Position(topic, partition, stored, { low: 0n, high: 0n });
      this.all.set(key, position);
    }
    return position;
  }

  assign(assignment: Record<string, number[]>): void {
    this.assigned.clear();
    for (const [topic, partitions] of Object.entries(assignment)) {
      for (const partition of partitions) this.assigned.add(this.at(topic, partition));
    }
  }

  /**
   * Finds where every partition is to be read, and whether the broker still holds that.
   * Rejects with SourceHalted, and when the brokers or the store do not answer.
   */
  async locate(view: BrokerView): Promise<void> {
    const { config, destination } = this.parts;
    for (const topic of config.topics) {
      for (const [partition, held] of await view.heldOffsets(topic)) {
        const stored = destination.nextOffset(topic, partition);
        const position = new Position(topic, partition, stored, held);
        this.all.set(`${topic}/${partition}`, position);
        if (stored === undefined && config.from === 'end') {
          // Stored at once: after a crash this is still where the source began.
          await destination.advance(position, undefined, held.high);
          position.resume(held.high);
        }
        await mindDataLoss(this.parts, position, held);
      }
    }
  }
}
