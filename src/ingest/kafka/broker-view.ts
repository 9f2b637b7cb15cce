import type { Admin, Kafka } from 'kafkajs';

import type { HeldOffsets } from './position.ts';

/** What a source asks the brokers beside reading. */
export class BrokerView {
  private client: Kafka;
  private admin: Promise<Admin> | undefined;

  constructor(client: Kafka) {
    this.client = client;
  }

  /** What the brokers hold of each partition of the topic. */
  async heldOffsets(topic: string): Promise<Map<number, HeldOffsets>> {
    const offsets = await this.ask((admin) => admin.fetchTopicOffsets(topic));
    return new Map(
      offsets.map(({ partition, low, high }) => [
        partition,
        { low: BigInt(low), high: BigInt(high) },
      ]),
    );
  }

  /** How many members the consumer group has. */
  async groupMembers(groupId: string): Promise<number> {
    const { groups } = await this.ask((admin) => admin.describeGroups([groupId]));
    return groups[0]?.members.length ?? 0;
  }

  async close(): Promise<void> {
    const admin = this.admin;
    this.admin = undefined;
    await (await admin)?.disconnect();
  }

  private async ask<T>(question: (admin: Admin) => Promise<T>): Promise<T> {
    this.admin ??= connected(this.client.admin());
    try {
      return await question(await this.admin);
    } catch (error) {
      // This client never looks again which broker leads a partition; the next one will.
      await this.close().catch(() => {});
      throw error;
    }
  }
}

async function connected(admin: Admin): Promise<Admin> {
  await admin.connect();
  return admin;
}
