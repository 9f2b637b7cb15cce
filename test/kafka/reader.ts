import { systemClock } from '../../src/ground/time.ts';
import { KafkaSource } from '../../src/ingest/kafka/source.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import { openStore } from '../../src/store/store.ts';

/**
 * A process that reads a topic into a store until it is killed:
 * `node reader.ts <data directory> <broker> <topic>`. It prints how far it has come.
 */
const [directory, broker, topic] = process.argv.slice(2) as [string, string, string];
const log = { debug() {}, info() {}, warn() {}, error() {} };
const config = sourceConfigSchema.parse({
  name: 's',
  feature_view: 'job',
  version: 'v1',
  content: 'vector',
  known_timestamp: 'record',
  topics: [topic],
  group_prefix: topic,
});
const source = new KafkaSource({
  config: { ...config, version: 'v1' },
  connection: { brokers: [broker], ssl: false },
  store: openStore(directory, systemClock),
  futureSkewMax: 300_000_000,
  log,
});
source.start();
setInterval(() => {
  process.stdout.write(`${source.status().partitions[0]?.next_offset ?? 0}\n`);
}, 10);
