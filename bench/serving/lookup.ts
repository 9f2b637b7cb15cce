/**
 * A member and 500 jobs, 768 float32 each, over HTTP with our client, beside Redis through its two
 * clients, and beside a server that only ever sends one buffer of that size, read by our client. Run
 * with `npm run bench -- lookup`.
 */
import { serverCores } from '../harness/cores.ts';
import { type DataSet, dataSetText } from '../harness/data-set.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { redisText, startRedis } from '../harness/redis.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { packageText } from '../harness/tools.ts';
import {
  type Asker,
  constantAsker,
  fillRedis,
  ioredisAsker,
  nodeRedisAsker,
  tidemarkAsker,
} from './askers.ts';
import { startConstant } from './constant-server.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { JOBS, type Keys, KEYS_TEXT, lookupOf, rankingsOf } from './ranking.ts';
import { servingText, withServer } from './running.ts';

const DIM = 768;
const BYTES = (JOBS + 1) * DIM * 4;
const FLIGHTS = [1, 8, 64];
const KEYS: Keys[] = ['uniform', 'Zipf'];

const options = askedOptions(['workers']);
const { isStandard, workers } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 1, 50_000] : [1, 1, 10_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs, member: jobs / 10 } };

await withServer(dataSet, options, async ({ folder, server }) => {
  const redis = await startRedis(folder, serverCores());
  await fillRedis(redis.port, dataSet);
  const rankings = new Map(KEYS.map((keys) => [keys, rankingsOf(dataSet, keys)]));
  const [constantRanking] = rankings.get('uniform')!;
  const constant = await startConstant(folder, {
    url: server.url,
    path: '/v1/lookup',
    accept: 'application/vnd.safetensors',
    body: JSON.stringify(lookupOf(constantRanking!)),
  });
  const askers: { name: string; pid: number; asker: Asker }[] = [
    { name: 'Tidemark', pid: server.pid, asker: tidemarkAsker(server.url, BYTES) },
    { name: 'Redis, ioredis', pid: redis.pid, asker: ioredisAsker(redis.port, BYTES) },
    { name: 'Redis, node-redis', pid: redis.pid, asker: await nodeRedisAsker(redis.port, BYTES) },
    {
      name: 'one constant buffer',
      pid: constant.pid,
      asker: constantAsker(constant.url, BYTES, constantRanking!),
    },
  ];
  const contenders = KEYS.flatMap((keys) =>
    FLIGHTS.flatMap((flight) =>
      askers.map(({ name, pid, asker }): Contender => {
        const all = rankings.get(keys)!;
        const ask = async (at: number) => asker.ask(all[at % all.length]!);
        return {
          name,
          group: `${keys}, ${flight} in flight`,
          turn: async () => measured(pid, async () => askInFlight(flight, seconds, ask)),
        };
      }),
    ),
  );
  const rows = await measureInTurns(contenders, rounds);
  for (const { asker } of askers) asker.close();
  for (const one of [redis, constant]) await one.close();
  publishRows({
    name: pageName('lookup', options),
    title: 'A member and 500 jobs over HTTP, beside Redis',
    command: commandOf('lookup', options),
    text: [
      `Of ${dataSetText(dataSet)}, ${JOBS + 1} vectors a request, the latest: ${BYTES} bytes. Tidemark answers safetensors over HTTP to tidemark/client; ${redisText()} answers MGET of the same keys and bytes to ${packageText('ioredis')} and ${packageText('redis')} (node-redis), one connection each; the constant buffer is one of Tidemark’s answers, sent by ${packageText('fastify')} to tidemark/client. All clients look at two numbers of each vector and add them up to the same sum. ${KEYS_TEXT} All is warm.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['rate', 'p99'],
    baselines: [
      { name: 'Redis, ioredis', metric: 'rate' },
      { name: 'Redis, node-redis', metric: 'rate' },
      { name: 'one constant buffer', metric: 'rate' },
    ],
    results: { data_set: dataSet, workers, rounds, seconds, constant_bytes: constant.bytes },
    isStandard,
  });
});
