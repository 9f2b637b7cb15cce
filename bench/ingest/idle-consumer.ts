/**
 * kafkajs alone, as a process of its own: reads a topic from its first record to its last with the
 * settings that a source reads with, and does nothing with it. Prints `joined` when it may fetch, and
 * `done` when it has had the last record. Arguments: the broker, the topic, how many records.
 */
import { createClient } from '../../src/ingest/kafka/client.ts';
import { CONSUMER, PARTITIONS_AT_ONCE } from '../../src/ingest/kafka/session.ts';

const [broker, topic, records] = process.argv.slice(2) as [string, string, string];
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
const client = createClient({ brokers: [broker], ssl: false }, 'idle', SILENT);
const consumer = client.consumer({
  ...CONSUMER,
  groupId: `idle-${process.pid}`,
  // A broker that has just started may not know its groups yet.
  retry: { retries: 20, restartOnFailure: async () => true },
});
let left = Number(records);
consumer.on(consumer.events.GROUP_JOIN, () => console.log('joined'));
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
  eachBatch: async ({ batch }) => {
    left -= batch.messages.length;
    if (left <= 0) console.log('done');
  },
});
