import type { Consumer } from 'kafkajs';

import type { BrokerView } from './broker-view.ts';
import { mindDataLoss, type LossParts } from './data-loss.ts';
import type { Partitions } from './partitions.ts';
import { type Position, standing } from './position.ts';

interface UpkeepParts extends LossParts {
  config: LossParts['config'] & { topics: string[] };
  groupId: string;
}

/** What a session does beside reading, from time to time. */
export class Upkeep {
  /** Set while another member of the group holds partitions. */
  foreign: string | undefined;
  private parts: UpkeepParts;
  private view: BrokerView;
  private consumer: Consumer;
  private partitions: Partitions;
  /** Positions that the broker did not hold at the last look, and where they were. */
  private suspects = new Map<Position, bigint>();

  constructor(parts: UpkeepParts, view: BrokerView, consumer: Consumer, partitions: Partitions) {
    this.parts = parts;
    this.view = view;
    this.consumer = consumer;
    this.partitions = partitions;
  }

  /** Rejects with SourceHalted, and when the brokers or the store do not answer. */
  async run(): Promise<void> {
    await this.countMembers();
    await this.storeTails();
    await this.reportOffsets();
    await this.look();
  }

  /** Tells the brokers what is stored, where operators look for it. Nobody reads it back. */
  async reportOffsets(): Promise<void> {
    const moved = [...this.partitions.assigned].filter(
      ({ stored, reported }) => stored !== reported,
    );
    const offsets = moved.map(({ topic, partition, stored }) => ({
      topic,
      partition,
      offset: String(stored),
      stored,
    }));
    if (offsets.length === 0) return;
    await this.consumer.commitOffsets(offsets);
    for (const [at, position] of moved.entries()) position.reported = offsets[at]!.stored;
  }

  /** Our process owns every partition; one that is missing is with another member, or brand new. */
  private async countMembers(): Promise<void> {
    const { groupId } = this.parts;
    const [held, all] = [this.partitions.assigned.size, this.partitions.size];
    const members = held < all ? await this.view.groupMembers(groupId) : 1;
    this.foreign =
      members > 1
        ? `another member of the consumer group ${groupId} holds ${all - held} of ${all} partitions; ` +
          'they wait until it leaves'
        : undefined;
  }

  /** Stores offsets past records that nobody is shown, such as markers of transactions. */
  private async storeTails(): Promise<void> {
    for (const position of this.partitions.assigned) {
      const { isIdle, stored, fetch } = position;
      if (!isIdle || stored === undefined || fetch <= stored) continue;
      // From here a batch that comes expects what is about to be stored.
      position.send(fetch);
      await this.parts.destination.advance(position, stored, fetch);
      if (position.stored === stored) position.stored = fetch;
    }
  }

  private async look(): Promise<void> {
    for (const topic of this.parts.config.topics) {
      const offsets = await this.view.heldOffsets(topic);
      for (const position of this.partitions.values()) {
        const held = position.topic === topic ? offsets.get(position.partition) : undefined;
        if (held === undefined) continue;
        const { isIdle, stored } = position;
        if (held.high > position.high || isIdle) position.high = held.high;
        if (!isIdle || stored === undefined || standing(stored, held) === 'within') {
          this.suspects.delete(position);
        } else if (this.suspects.get(position) === stored) {
          // Seen twice: nothing that was fetched before is still on its way.
          if (await mindDataLoss(this.parts, position, held)) this.seek(position);
        } else {
          this.suspects.set(position, stored);
        }
      }
    }
  }

  private seek({ topic, partition, fetch }: Position): void {
    this.consumer.seek({ topic, partition, offset: String(fetch) });
  }
}
