import kafkajs, { type Kafka, type Message } from 'kafkajs';
import { Packr } from 'msgpackr';

import { seeded } from '../harness/random.ts';

/** What stands in a record, and how a source is told of it. */
export interface Format {
  name: string;
  /** Records in a topic. */
  records: number;
  /** Records in a batch of the producer: less than the largest that brokers take. */
  batch: number;
  message(vector: Float32Array, event: number): Pick<Message, 'value' | 'headers'>;
  /** Settings of a source. */
  mapping: object;
}

/** The first event time, ms. */
const FIRST_EVENT = Date.parse('2026-03-01T00:00:00Z');
const IN_FIELD = { event_timestamp: { path: 'event_timestamp', unit: 'us' } };
const packr = new Packr({ useRecords: false });

/** Formats that hold vectors of float32, as many of them as are stored in ten seconds, and more. */
export const FORMATS: readonly Format[] = [
  {
    name: 'raw float32',
    records: 360_000,
    batch: 250,
    message: ({ buffer }) => ({
      value: Buffer.from(buffer.slice(0) as ArrayBuffer),
      headers: { 'tidemark-version': 'v1', 'tidemark-dtype': 'float32' },
    }),
    mapping: { encoding: 'bytes', event_timestamp: 'record' },
  },
  {
    name: 'MessagePack',
    records: 300_000,
    batch: 250,
    message: ({ buffer }, event_timestamp) => ({
      value: packr.pack({ event_timestamp, vector: Buffer.from(buffer as ArrayBuffer) }),
    }),
    mapping: { encoding: 'msgpack', ...IN_FIELD },
  },
  {
    name: 'JSON with base64',
    records: 200_000,
    batch: 200,
    message: ({ buffer }, event_timestamp) => ({
      value: JSON.stringify({
        event_timestamp,
        vector: Buffer.from(buffer as ArrayBuffer).toString('base64'),
      }),
    }),
    mapping: IN_FIELD,
  },
  {
    name: 'JSON with numbers',
    records: 60_000,
    batch: 50,
    message: (vector, event_timestamp) => ({
      value: JSON.stringify({ event_timestamp, vector: Array.from(vector) }),
    }),
    mapping: IN_FIELD,
  },
];

export interface FilledTopic {
  topic: string;
  partitions: number;
  format: Format;
  dim: number;
}

/** A topic with the format's records; an entity's are in one partition, and each has a vector of its own. */
export async function fillTopic(
  client: Kafka,
  format: Format,
  partitions: number,
  { dim, entities }: { dim: number; entities: number },
): Promise<FilledTopic> {
  const topic = `${format.name.replaceAll(' ', '-')}-${partitions}`;
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: false,
    // Their timestamps are not of this week.
    topics: [
      {
        topic,
        numPartitions: partitions,
        configEntries: [{ name: 'retention.ms', value: '-1' }],
      },
    ],
  });
  await admin.disconnect();
  const producer = client.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    retry: { retries: 20 },
  });
  await producer.connect();
  const random = seeded(3);
  const vector = Float32Array.from({ length: dim }, () => random() - 0.5);
  let sent: Promise<unknown> = Promise.resolve();
  for (let from = 0; from < format.records; from += format.batch) {
    const partition = (from / format.batch) % partitions;
    const messages = Array.from({ length: format.batch }, (_, row) => {
      const at = from + row;
      vector[at % dim] = random() - 0.5;
      const message = format.message(vector, (FIRST_EVENT + at) * 1_000);
      const entity = ((at * 7_919) % (entities / partitions)) * partitions + partition;
      return { ...message, key: `job-${entity}`, partition, timestamp: `${FIRST_EVENT + at}` };
    });
    // One batch is made while the one before is on its way.
    await sent;
    sent = producer.send({ topic, messages });
  }
  await sent;
  await producer.disconnect();
  return { topic, partitions, format, dim };
}
