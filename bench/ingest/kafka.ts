/** Vectors from Kafka, durable, beside kafkajs doing nothing: `npm run bench -- kafka-ingest`. */
import { createClient } from '../../src/ingest/kafka/client.ts';
import { Broker } from '../../test/kafka/broker.ts';
import { withFolder } from '../harness/folder.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { measureInTurns, type Row } from '../harness/rows.ts';
import { idleConsumer, tidemark } from './kafka-contenders.ts';
import { fillTopic, formatsOf } from './records.ts';

const DIM = 768;
const ENTITIES = 20_000;
const PARTITIONS = [1, 4];
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

const options = askedOptions();
const [rounds, share] = options.isStandard ? [5, 1] : [1, 0.25];
const asked = options.words.join(' ');

await withFolder(async (folder) => {
  const broker = await Broker.launch();
  const rows: Row[] = [];
  try {
    const client = createClient({ brokers: [broker.address], ssl: false }, 'bench', SILENT);
    for (const format of formatsOf(share).filter(({ name }) => name.includes(asked))) {
      for (const partitions of PARTITIONS) {
        const filled = await fillTopic(client, format, partitions, {
          dim: DIM,
          entities: ENTITIES,
        });
        const contenders = [idleConsumer(broker, filled), tidemark(broker, folder, filled, DIM)];
        rows.push(...(await measureInTurns(contenders, rounds)));
      }
    }
  } finally {
    await broker.remove();
  }
  publishRows({
    name: pageName('kafka-ingest', options),
    title: 'Vectors from Kafka, durable, beside kafkajs doing nothing',
    command: commandOf('kafka-ingest', options),
    text: [
      `Vectors of ${DIM} float32, a new one in each record, of ${ENTITIES.toLocaleString('en')} entities, in one broker on the same machine. kafkajs alone reads with the settings that a source reads with, and does nothing with a batch; Tidemark is the whole server, and done when the last offset is on the disk. Each is a process of its own, from the moment that it has joined its group until its last record, and every record is then a revision.`,
      'The broker, the one process or the other, and the disk share the cores: how many each of them kept busy is in the table.',
    ],
    metrics: [
      { key: 'records', title: 'records/s', unit: 'records/s', better: 'more' },
      { key: 'megabytes', title: 'MB/s', unit: 'MB/s', better: 'more' },
      { key: 'own', title: 'cores, own', unit: 'cores' },
      { key: 'broker', title: 'cores, broker', unit: 'cores' },
      { key: 'each', title: 'CPU a record, µs', unit: 'µs', better: 'less' },
    ],
    rows,
    plotted: ['records'],
    baselines: [{ name: 'kafkajs, doing nothing', metric: 'records' }],
    results: { dim: DIM, entities: ENTITIES },
    isStandard: options.isStandard,
  });
});
