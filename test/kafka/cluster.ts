import { randomUUID } from 'node:crypto';

import kafkajs, { type Admin, type Kafka, type Message, type Producer } from 'kafkajs';
import { afterAll, describe, inject, vi } from 'vitest';

import { createClient, type Log } from '../../src/ingest/kafka/client.ts';

const provided = inject('kafka');

/** A group of tests that need Kafka; skipped where there is none. */
export const describeKafka = provided.address === '' ? describe.skip : describe;

export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

export function connection(address = provided.address) {
  return { brokers: address.split(','), ssl: false };
}

/** What a test file uses to fill topics; everything is closed after the file's last test. */
export class Cluster {
  readonly client: Kafka;
  readonly admin: Admin;
  readonly producer: Producer;

  constructor(address = provided.address) {
    this.client = createClient(connection(address), 'tidemark-test', SILENT);
    this.admin = this.client.admin();
    this.producer = this.client.producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
  }

  static open(address?: string): Cluster {
    const cluster = new Cluster(address);
    afterAll(() => cluster.close());
    return cluster;
  }

  async close(): Promise<void> {
    await this.producer.disconnect();
    await this.admin.disconnect();
  }

  /** A new topic of its own; its name. */
  async topic(partitions = 1, config: Record<string, string> = {}): Promise<string> {
    const topic = `t-${randomUUID()}`;
    await this.admin.connect();
    await this.admin.createTopics({
      // kafkajs waits badly: a broker that does not know of the topic yet ends it with an error.
      waitForLeaders: false,
      topics: [
        {
          topic,
          numPartitions: partitions,
          configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
        },
      ],
    });
    const leaders = async (): Promise<number> => {
      const { topics } = await this.admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]!.partitions.filter(({ leader }) => leader >= 0).length;
    };
    const known = () => leaders().catch(() => 0);
    await vi.waitUntil(async () => (await known()) === partitions, { timeout: 30_000 });
    return topic;
  }

  /** Writes the messages, all to one partition, in order. */
  async produce(
    topic: string,
    messages: readonly Message[],
    { partition = 0, compression = kafkajs.CompressionTypes.None } = {},
  ): Promise<void> {
    await this.producer.connect();
    await this.producer.send({
      topic,
      compression,
      messages: messages.map((message) => ({ ...message, partition })),
    });
  }
  /** Deletes a partition's records below `offset`, as retention does when their time has come. */
  async forget(topic: string, offset: number, partition = 0): Promise<void> {
    // kafkajs looks for the partition's leader in what it happens to know of the topic.
    await this.admin.fetchTopicOffsets(topic);
    const before = { partition, offset: String(offset) };
    await this.admin.deleteTopicRecords({ topic, partitions: [before] });
  }
}
