/**
 * kafkajs alone, as a process of its own: reads a topic with the settings that a source reads with,
 * from its first record to its last and again from the first, and does nothing with it. Prints
 * `joined` when it may fetch, and, so many seconds later, how many records it had by then.
 *
 *     node bench/ingest/idle-consumer.ts <broker> <topic> <seconds>
 */
import { createClient } from '../../src/ingest/kafka/client.ts';
import { CONSUMER, PARTITIONS_AT_ONCE } from '../../src/ingest/kafka/session.ts';
import { SILENT } from './silent.ts';

const [broker, topic, seconds] = process.argv.slice(2) as [string, string, string];
const client = createClient({ brokers: [broker], ssl: false }, 'idle', SILENT);
const consumer = client.consumer({
  ...CONSUMER,
  groupId: `idle-${process.pid}`,
  // A broker that has just started may not know its groups yet.
  retry: { retries: 20, restartOnFailure: async () => true },
});
let records = 0;
consumer.on(consumer.events.GROUP_JOIN, () => {
  console.log('joined');
  setTimeout(() => console.log(`records ${records}`), Number(seconds) * 1_000);
});
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
  eachBatch: async ({ batch }) => {
    records += batch.messages.length;
    const isLast = BigInt(batch.lastOffset()) + 1n === BigInt(batch.highWatermark);
    if (isLast) consumer.seek({ topic, partition: batch.partition, offset: '0' });
  },
});
