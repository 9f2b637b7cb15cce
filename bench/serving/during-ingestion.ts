/**
 * Lookups at a steady pace of a server that does nothing else, beside the same while 20,000 vectors a
 * second are pushed into the view that they read. Run with `npm run bench -- lookup-during-ingestion`.
 */
import { join } from 'node:path';

import { type DataSet, dataSetText, idOf } from '../harness/data-set.ts';
import { distinct, uniform } from '../harness/keys.ts';
import { askAtPace } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { Peer } from '../harness/peer.ts';
import { seeded } from '../harness/random.ts';
import { type Contender, measureInTurns, type Metric } from '../harness/rows.ts';
import { clientOf } from './askers.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import type { Pushed } from './pusher.ts';
import { servingText, withServer } from './running.ts';

const DIM = 128;
const IDS = 500;
const QUESTIONS = 128;
const LOOKUPS_A_SECOND = 100;
const BATCH = 1_000;
const BATCHES_A_SECOND = 20;
const IDLE = 'Tidemark, idle';
const PUSHER = join(import.meta.dirname, 'pusher.ts');

const PUSH_METRICS: readonly Metric[] = [
  { key: 'vectors', title: 'vectors pushed/s', unit: '/s', better: 'more' },
  { key: 'push_p50', title: 'push p50, ms', unit: 'ms', better: 'less' },
  { key: 'push_p99', title: 'push p99, ms', unit: 'ms', better: 'less' },
];

const options = askedOptions(['workers']);
const { isStandard } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 10, 100_000] : [1, 3, 20_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs } };
const random = seeded(5);
const questions = Array.from({ length: QUESTIONS }, () =>
  distinct(uniform(jobs), random, IDS).map((entity) => idOf('job', entity)),
);

await withServer(dataSet, options, async ({ server }) => {
  const client = clientOf(server.url);
  const numbers = [DIM, jobs, BATCHES_A_SECOND, BATCH].map(String);
  const pusher = new Peer(process.execPath, [PUSHER, server.url, 'job', ...numbers]);
  const ask = async (at: number) => {
    const lookups = [{ feature_view: 'job', entity_ids: questions[at % QUESTIONS]! }];
    using answer = await client.lookup({ lookups });
    if (answer.results[0]!.rows !== IDS) throw new Error('an answer is not whole');
  };
  const lookUp = async () =>
    measured(server.pid, async () => askAtPace(LOOKUPS_A_SECOND, seconds, ask));
  const contenders: Contender[] = [
    { name: IDLE, group: '', turn: lookUp },
    {
      name: 'Tidemark, during ingestion',
      group: '',
      async turn() {
        await pusher.run(`prepare ${seconds}`);
        const pushing = pusher.run<Pushed>('push');
        const looked = await lookUp();
        const { load, vectors } = await pushing;
        return {
          ...looked,
          vectors: (load.rate * vectors) / load.count,
          push_p50: load.p50,
          push_p99: load.p99,
        };
      },
    },
  ];
  const rows = await measureInTurns(contenders, rounds);
  client.close();
  await pusher.close();
  publishRows({
    name: pageName('lookup-during-ingestion', options),
    title: 'Lookups during ingestion of 20,000 vectors a second',
    command: commandOf('lookup-during-ingestion', options),
    text: [
      `Of ${dataSetText(dataSet)}: ${LOOKUPS_A_SECOND} lookups a second of ${IDS} different entities each, the latest, all as likely, through tidemark/client, timed from when each was due. Meanwhile another process pushes ${BATCHES_A_SECOND} batches of ${BATCH} new revisions a second as MessagePack into the same view, each answered when it is on the disk, and also timed from when it was due; it shares the core of the client. The CPU time of the server is that of both, for each lookup.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: [...SERVING_METRICS, ...PUSH_METRICS],
    rows,
    plotted: ['p50', 'p99'],
    baselines: [{ name: IDLE, metric: 'p99' }],
    results: { data_set: dataSet, workers: options.workers, rounds, seconds },
    isStandard,
  });
});
