/**
 * A member and 500 jobs of a server that has just started and whose files are in no cache, beside the
 * same requests once more. Run with `npm run bench -- lookup-cold`.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { type DataSet, dataSetText } from '../harness/data-set.ts';
import { askSoMany, type Load } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { dropFromCache } from '../harness/page-cache.ts';
import { publishRows } from '../harness/page.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import type { Server } from '../harness/server.ts';
import { tidemarkAsker } from './askers.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { JOBS, RANKINGS, rankingsOf } from './ranking.ts';
import { startPinned, servingText, withServer } from './running.ts';

const DIM = 768;
const BYTES = (JOBS + 1) * DIM * 4;
const FLIGHTS = [1, 8];
const WARM = 'Tidemark, once more';
/** Those are asked for beforehand, to warm up the code and not the files. */
const WARM_UP_JOBS = 1_000;

const options = askedOptions(['workers']);
const { isStandard } = options;
const [rounds, jobs] = isStandard ? [3, 200_000] : [1, 30_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs, member: jobs / 10 } };
const few = { job: WARM_UP_JOBS, member: 1 };
const warmUps = rankingsOf({ ...dataSet, views: few }, 'uniform');
const rankings = rankingsOf(dataSet, 'uniform');

await withServer(dataSet, options, async ({ folder, server: first, data }) => {
  let server: Server | undefined = first;

  async function restart(): Promise<Server> {
    await server?.close();
    evict(data);
    server = await startPinned(folder, data, options);
    await askAll(server, 1, warmUps);
    return server;
  }

  const contenders = FLIGHTS.flatMap((flight): Contender[] => {
    const group = `${flight} in flight`;
    const ask = async (one: Server) => measured(one.pid, async () => askAll(one, flight, rankings));
    return [
      { name: 'Tidemark, cold', group, turn: async () => ask(await restart()) },
      { name: WARM, group, turn: async () => ask(server!) },
    ];
  });
  const rows = await measureInTurns(contenders, rounds);
  await server?.close();
  publishRows({
    name: pageName('lookup-cold', options),
    title: 'A member and 500 jobs from files that no cache holds',
    command: commandOf('lookup-cold', options),
    text: [
      `Of ${dataSetText(dataSet)}: ${RANKINGS} requests of ${JOBS + 1} vectors, all as likely, each asked once, through tidemark/client. Before, the server is started anew and its files are dropped from the page cache (\`dd oflag=nocache\`); it is asked for ${WARM_UP_JOBS} of the entities, so that its code is warm. Then the same requests once more.`,
      servingText(rounds, 'its requests', options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['p50', 'p99'],
    baselines: [{ name: WARM, metric: 'p50' }],
    results: { data_set: dataSet, workers: options.workers, rounds, requests: RANKINGS },
    isStandard,
  });
});

async function askAll(
  { url }: Server,
  flight: number,
  all: readonly (typeof rankings)[number][],
): Promise<Load> {
  const asker = tidemarkAsker(url, BYTES);
  const load = await askSoMany(flight, all.length, async (at) => asker.ask(all[at]!));
  asker.close();
  return load;
}

/** Drops the files of a folder from the page cache. */
function evict(folder: string): void {
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (file.isFile()) dropFromCache(join(file.parentPath, file.name));
  }
}
