import type { BrokerView } from './broker-view.ts';
import { type LossParts, mindDataLoss } from './data-loss.ts';
import { type HeldOffsets, Position } from './position.ts';

interface PartitionsParts extends LossParts {
  config: LossParts['config'] & { topics: string[] };
  /** Where topics begin that were never read. */
  from: 'beginning' | 'end';
  /** Whether it is stored at once, before the first record, where a partition is begun. */
  keepsStart: boolean;
}

/** The partitions of a source's topics, and how far each has been read. */
export class Partitions {
  /** Those that this member of the group holds. */
  readonly assigned = new Set<Position>();
  /** True once it is known of every partition where it is to be read. */
  isLocated = false;
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
      const held = await view.heldOffsets(topic);
      const found = Array.from(held, ([partition, offsets]) => {
        const stored = destination.nextOffset(topic, partition);
        const position = new Position(topic, partition, stored, offsets);
        this.all.set(`${topic}/${partition}`, position);
        return { position, offsets, first: destination.firstOffset(topic, partition) };
      });
      // Partitions that are added to a topic are read from their first record.
      const isNew = found.every(({ position, first }) => (position.stored ?? first) === undefined);
      // Asked for in one turn, so that a crash leaves all of them or none.
      await Promise.all(
        found.map(async ({ position, offsets, first }) => {
          if (position.stored === undefined) await this.begin(position, offsets, first, isNew);
        }),
      );
      for (const { position, offsets } of found) {
        await mindDataLoss(this.parts, position, offsets);
      }
    }
    this.isLocated = true;
  }

  /** Stored at once: after a crash this is still where the source began. */
  private async begin(
    position: Position,
    { low, high }: HeldOffsets,
    known: bigint | undefined,
    isNew: boolean,
  ): Promise<void> {
    const { destination, from, keepsStart } = this.parts;
    const isAtEnd = isNew && from === 'end';
    const first = known ?? (isAtEnd ? high : low);
    if (known === undefined && (isAtEnd || keepsStart)) await destination.begin(position, first);
    // Else the first commit does: a clean start is wherever the log begins by then.
    if (!isAtEnd && first <= low) return;
    await destination.advance(position, undefined, first);
    position.resume(first);
  }
}
