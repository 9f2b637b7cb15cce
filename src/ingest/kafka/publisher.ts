import kafkajs, { type Message, type Producer } from 'kafkajs';

import type { KafkaConnection } from '../source-config.ts';
import { createClient, type Log } from './client.ts';

/** How long the brokers may take to write a batch to all replicas that are in sync. */
const ACKNOWLEDGE_MS = 30_000;

/**
 * Writes messages to topics. One call at a time: then no partition has two requests under way, and
 * its order holds however often one is tried again.
 */
export class Publisher {
  private connection: KafkaConnection;
  private clientId: string;
  private log: Log;
  private producer: Promise<Producer> | undefined;

  constructor(connection: KafkaConnection, clientId: string, log: Log) {
    this.connection = connection;
    this.clientId = clientId;
    this.log = log;
  }

  /** Resolves when every message is acknowledged by all replicas in sync. After a failure any may be there. */
  async send(topic: string, messages: Message[]): Promise<void> {
    this.producer ??= this.connect();
    try {
      const producer = await this.producer;
      const { CompressionTypes } = kafkajs;
      const compression = CompressionTypes.None;
      await producer.send({ topic, messages, acks: -1, timeout: ACKNOWLEDGE_MS, compression });
    } catch (error) {
      // What it knows of the brokers may be what failed; the next one asks anew.
      void this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const { producer } = this;
    this.producer = undefined;
    await producer?.then((each) => each.disconnect()).catch(() => {});
  }

  private async connect(): Promise<Producer> {
    const producer = createClient(this.connection, this.clientId, this.log).producer({
      // Java's: one entity is always in one partition, whoever writes it.
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: false,
      // When kafkajs itself tries a batch again it passes by brokers that have answered, and loses
      // what has moved to one of them meanwhile. Whoever calls sends the whole batch again.
      retry: { retries: 0 },
    });
    await producer.connect();
    return producer;
  }
}

/** Whether the brokers take no message of this size. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof Error && 'type' in error && error.type === 'MESSAGE_TOO_LARGE';
}
