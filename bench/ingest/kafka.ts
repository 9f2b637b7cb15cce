/**
 * Vectors from Kafka, durable, beside kafkajs doing nothing and beside what the disk takes:
 * `npm run bench -- kafka-ingest`; with the word `formats`, of every
 * format, for a look.
 */
import { spawnSync } from 'node:child_process';

import { createClient } from '../../src/ingest/kafka/client.ts';
import { DISK } from '../harness/disk.ts';
import { withFolder } from '../harness/folder.ts';
import { askedOptions } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { measureInTurns, type Row } from '../harness/rows.ts';
import { withBroker } from './broker.ts';
import { disk, IDLE, idleConsumer, SYNCED_BYTES, tidemark } from './kafka-contenders.ts';
import { fillTopic, FORMATS } from './records.ts';
import { shareOfDisk } from './share-of-disk.ts';
import { SILENT } from './silent.ts';

const DIM = 768;
const ENTITIES = 20_000;
const [RAW] = FORMATS;

const options = askedOptions(['words']);
const { isStandard } = options;
const [rounds, share, seconds] = isStandard ? [3, 1, 10] : [1, 0.25, 3];
const topics = (options.words.includes('formats') ? FORMATS : [RAW!]).flatMap((format) =>
  [1, 4].map((partitions) => ({
    format: { ...format, records: format.records * share },
    partitions,
  })),
);

await withFolder(async (folder) => {
  const rows: Row[] = [];
  await withBroker(async (broker) => {
    const client = createClient({ brokers: [broker.address], ssl: false }, 'bench', SILENT);
    for (const { format, partitions } of topics) {
      const filled = await fillTopic(client, format, partitions, { dim: DIM, entities: ENTITIES });
      // What the broker has written is not to meet those who are measured.
      spawnSync('sync');
      const contenders = [
        idleConsumer(broker, filled, seconds),
        tidemark(broker, folder, filled, seconds),
        disk(folder, filled),
      ];
      rows.push(...(await measureInTurns(contenders, rounds)));
    }
  });
  publishRows({
    name: 'kafka-ingest',
    title: 'Vectors from Kafka, durable, beside kafkajs doing nothing',
    command: 'npm run bench -- kafka-ingest',
    text: [
      `Vectors of ${DIM} float32, a new one in each record, of ${ENTITIES.toLocaleString('en')} entities, in one broker on the same machine. kafkajs alone reads with the settings that a source reads with, and does nothing with a batch; it reads the topic again and again. Tidemark is the whole server, with a new store each time; what counts is what is on the disk, every record as a revision. Each is a process of its own, and has ${seconds} s from the moment that it has joined its group. Rounds: ${rounds}, in turns; median (least–most).`,
      `The disk: writes of ${SYNCED_BYTES / 1e6} MB at the end of a file, each followed by fdatasync, told as the vectors that they would be; nothing else is at work then. It is what the disk takes durably, in the same minutes and the same folder. ${shareOfDisk(rows)} A vector has ${DIM * 4} bytes; what is on the disk beside it, in the table, is of its revision, its place in the change log, and the file.`,
      'The broker, the one process or the other, and the disk share the cores: how many each of them kept busy is in the table.',
    ],
    metrics: [
      { key: 'records', title: 'records/s', unit: 'records/s', better: 'more' },
      { key: 'vectors', title: 'vectors, MB/s', unit: 'MB/s', better: 'more' },
      { key: 'stored', title: 'bytes on the disk a record', unit: 'bytes', better: 'less' },
      { key: 'own', title: 'cores, own', unit: 'cores' },
      { key: 'broker', title: 'cores, broker', unit: 'cores' },
      { key: 'each', title: 'CPU a record, µs', unit: 'µs', better: 'less' },
    ],
    rows,
    plotted: ['vectors'],
    baselines: [IDLE, DISK].map((name) => ({ name, metric: 'records' })),
    results: {
      dim: DIM,
      entities: ENTITIES,
      rounds,
      seconds,
      topics: topics.map(({ format, partitions }) => ({
        format: format.name,
        records: format.records,
        partitions,
      })),
    },
    isStandard,
  });
});
