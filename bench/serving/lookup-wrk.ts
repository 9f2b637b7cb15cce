/**
 * A member and 500 jobs over HTTP as a client in C asks, wrk, beside Redis asked by redis-benchmark
 * and a server that only ever sends one buffer of that size. Run with `npm run bench -- lookup-wrk`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { serverCores } from '../harness/cores.ts';
import { type DataSet, dataSetText } from '../harness/data-set.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { randomKey, redisBenchmark } from '../harness/redis-benchmark.ts';
import { redisText, startRedis } from '../harness/redis.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { packageText } from '../harness/tools.ts';
import { requestLines, wrk } from '../harness/wrk.ts';
import { fillRedis } from './askers.ts';
import { startConstant } from './constant-server.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { JOBS, type Keys, KEYS_TEXT, lookupOf, rankingsOf } from './ranking.ts';
import { servingText, withServer } from './running.ts';

const DIM = 768;
const FLIGHTS = [1, 8, 64];
const KEYS: Keys[] = ['uniform', 'Zipf'];
const ACCEPT = 'application/vnd.safetensors';

const options = askedOptions(['workers']);
const { isStandard, workers } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 2, 50_000] : [1, 1, 10_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs, member: jobs / 10 } };

await withServer(dataSet, options, async ({ folder, server }) => {
  const redis = await startRedis(folder, serverCores());
  await fillRedis(redis.port, dataSet, (view, entity) => randomKey(`${view}:`, entity));
  const requests = new Map<Keys, string>();
  for (const keys of KEYS) {
    const bodies = rankingsOf(dataSet, keys).map((one) => JSON.stringify(lookupOf(one)));
    const path = join(folder, `requests-${keys}`);
    await writeFile(path, requestLines(bodies.map((body) => ({ path: '/v1/lookup', body }))));
    requests.set(keys, path);
  }
  const [ranking] = rankingsOf(dataSet, 'uniform');
  const constant = await startConstant(folder, {
    url: server.url,
    path: '/v1/lookup',
    accept: ACCEPT,
    body: JSON.stringify(lookupOf(ranking!)),
  });
  const overHttp = (name: string, { url, pid }: { url: string; pid: number }) =>
    KEYS.flatMap((keys) =>
      FLIGHTS.map((flight): Contender => ({
        name: keys === 'uniform' ? name : `${name}, ${keys} keys`,
        group: `${flight} in flight`,
        turn: async () => {
          const load = { url, method: 'POST', accept: ACCEPT, flight, seconds } as const;
          return measured(pid, async () => wrk({ ...load, requests: requests.get(keys)! }));
        },
      })),
    );
  // What answers always the same is asked one way.
  const constants = overHttp('one constant buffer', constant).slice(0, FLIGHTS.length);
  const redises = FLIGHTS.map((flight): Contender => {
    // It is told how many requests to send, not for how long: as many as fit after the first turn.
    let count = 200;
    return {
      name: 'Redis, redis-benchmark',
      group: `${flight} in flight`,
      turn: async () => {
        // It draws from one range of numbers: the member is one more job.
        const keys = Array.from({ length: JOBS + 1 }, () => 'job:__rand_int__');
        const command = ['MGET', ...keys];
        const load = { port: redis.port, flight, count, keys: jobs, command };
        const sample = await measured(redis.pid, async () => redisBenchmark(load));
        count = Math.max(200, Math.round(sample['rate']! * seconds));
        return sample;
      },
    };
  });
  const contenders = [...overHttp('Tidemark', server), ...redises, ...constants];
  const rows = await measureInTurns(contenders, rounds);
  for (const one of [redis, constant]) await one.close();
  publishRows({
    name: pageName('lookup-wrk', options),
    title: 'A member and 500 jobs asked by wrk, beside Redis',
    command: commandOf('lookup-wrk', options),
    text: [
      `Of ${dataSetText(dataSet)}, ${JOBS + 1} vectors a request, the latest. wrk posts JSON to Tidemark and reads safetensors; ${redisText()} is asked by its own redis-benchmark for MGET of as many random keys of the same bytes; the constant buffer is one of Tidemark’s answers (${constant.bytes} bytes), sent by ${packageText('fastify')} and asked for with the same requests, which it reads and does not parse. All three load generators are in C and have one thread; none looks into the answer. ${KEYS_TEXT} Of redis-benchmark all keys are as likely, and may come twice. All is warm.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['rate', 'p99'],
    baselines: [
      { name: 'Redis, redis-benchmark', metric: 'rate' },
      { name: 'one constant buffer', metric: 'rate' },
    ],
    results: { data_set: dataSet, workers, rounds, seconds, constant_bytes: constant.bytes },
    isStandard,
  });
});
