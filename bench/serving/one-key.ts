/**
 * One entity a request, as a GET and as a lookup, beside a server that always sends a constant of
 * that size: by wrk, and by our client. Run with `npm run bench -- one-key`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { TidemarkClient } from '../../src/client/index.ts';
import { type DataSet, dataSetText, idOf } from '../harness/data-set.ts';
import { uniform } from '../harness/keys.ts';
import { type Ask, askInFlight, type Load } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { seeded } from '../harness/random.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { packageText } from '../harness/tools.ts';
import { requestLines, wrk } from '../harness/wrk.ts';
import { clientOf } from './askers.ts';
import { type ConstantServer, startConstant } from './constant-server.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { servingText, withServer } from './running.ts';

const DIM = 768;
const REQUESTS = 4_096;
const FLIGHTS = [1, 64];
const CONSTANT = 'one constant buffer';

const options = askedOptions(['workers']);
const { isStandard } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 2, 50_000] : [1, 1, 10_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs } };
const random = seeded(5);
const choose = uniform(jobs);
const ids = Array.from({ length: REQUESTS }, () => idOf('job', choose(random)));

/** A way to ask for one entity. */
interface Way {
  title: string;
  method: 'GET' | 'POST';
  accept: string;
  requests: { path: string; body?: string }[];
}

const lookupOf = (id: string) => ({ lookups: [{ feature_view: 'job', entity_ids: [id] }] });
const WAYS: Way[] = [
  {
    title: 'GET, JSON',
    method: 'GET',
    accept: 'application/json',
    requests: ids.map((id) => ({ path: `/v1/feature-views/job/entities/${id}` })),
  },
  {
    title: 'lookup, safetensors',
    method: 'POST',
    accept: 'application/vnd.safetensors',
    requests: ids.map((id) => ({ path: '/v1/lookup', body: JSON.stringify(lookupOf(id)) })),
  },
];

await withServer(dataSet, options, async ({ folder, server }) => {
  const contenders: Contender[] = [];
  const constants: ConstantServer[] = [];
  for (const { title, method, accept, requests } of WAYS) {
    const file = join(folder, `requests-${method}`);
    await writeFile(file, requestLines(requests));
    const constant = await startConstant(folder, { url: server.url, accept, ...requests[0]! });
    constants.push(constant);
    for (const flight of FLIGHTS) {
      const group = `wrk, ${title}, ${flight} in flight`;
      const load = { method, accept, requests: file, flight, seconds };
      contenders.push(
        { name: 'Tidemark', group, turn: askedBy(server, async (url) => wrk({ ...load, url })) },
        { name: CONSTANT, group, turn: askedBy(constant, async (url) => wrk({ ...load, url })) },
      );
    }
  }
  const lookups = constants.at(-1)!;
  const clients = [server, lookups].map(({ url }) => clientOf(url));
  for (const flight of FLIGHTS) {
    const group = `tidemark/client, lookup, ${flight} in flight`;
    const loads = clients.map((client) => async () => askInFlight(flight, seconds, askOf(client)));
    const [ours, constant] = loads as [() => Promise<Load>, () => Promise<Load>];
    contenders.push(
      { name: 'Tidemark', group, turn: askedBy(server, ours) },
      { name: CONSTANT, group, turn: askedBy(lookups, constant) },
    );
  }
  const rows = await measureInTurns(contenders, rounds);
  for (const client of clients) client.close();
  for (const constant of constants) await constant.close();
  const sizes = WAYS.map(({ title }, at) => `${constants[at]!.bytes} bytes (${title})`);
  publishRows({
    name: pageName('one-key', options),
    title: 'One key, beside a constant of the same size',
    command: commandOf('one-key', options),
    text: [
      `Of ${dataSetText(dataSet)}: the latest vector of one entity, all as likely; ${REQUESTS} prepared requests are asked in turn. The constant is one of Tidemark’s answers, ${sizes.join(' and ')}, sent by ${packageText('fastify')}, which reads a body and does not parse it. All is warm.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['rate', 'p99'],
    baselines: [{ name: CONSTANT, metric: 'rate' }],
    results: { data_set: dataSet, workers: options.workers, rounds, seconds },
    isStandard,
  });
});

function askOf(client: TidemarkClient): Ask {
  return async (at) => {
    using answer = await client.lookup(lookupOf(ids[at % REQUESTS]!));
    if (answer.results[0]!.rows !== 1) throw new Error('an answer is not whole');
  };
}

function askedBy(
  { pid, url }: { pid: number; url: string },
  load: (url: string) => Promise<Load>,
): Contender['turn'] {
  return async () => measured(pid, async () => load(url));
}
