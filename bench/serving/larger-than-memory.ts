/**
 * Lookups of one key that is in memory, beside lookups of 500 that are on the disk: of a server that
 * has memory for half of its data, in a control group. Run with
 * `npm run bench -- larger-than-memory`; takes root and control groups of version 1.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { type DataSet, dataSetText, idOf, makeStore } from '../harness/data-set.ts';
import { withFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { askInFlight, type Load } from '../harness/load.ts';
import { askedOptions } from '../harness/options.ts';
import { dropFromCache } from '../harness/page-cache.ts';
import { seeded } from '../harness/random.ts';
import { Server } from '../harness/server.ts';
import { dataFile } from '../store/histories.ts';
import { canLimit, MemoryGroup } from '../store/limited.ts';
import { clientOf } from './askers.ts';

const IDS = 500;
/** So many keys are asked for one by one, and stay in memory. */
const HOT = 50;
const RESIDENT_BYTES = 2 ** 25;
/** What the program takes beside them. */
const PROGRAM_BYTES = 2 ** 28;

if (!canLimit()) throw new Error('takes root, and control groups of version 1');
const { isStandard } = askedOptions();
const jobs = 200_000;
const seconds = isStandard ? 10 : 3;
const dataSet: DataSet = { dim: 768, revisions: 1, views: { job: jobs } };

await withFolder(async (folder) => {
  const data = join(folder, 'data');
  await makeStore(data, dataSet);
  const file = dataFile(data);
  const memory = Math.floor(statSync(file).size / 2);
  dropFromCache(file);
  const group = new MemoryGroup(`tidemark-bench-${process.pid}`, memory + PROGRAM_BYTES);
  const server = await Server.start({
    folder,
    data,
    settings: { serving: { resident_bytes: RESIDENT_BYTES } },
    within: (command, args) => group.within(command, args),
  });
  printGround();
  console.log(
    `${dataSetText(dataSet)}; memory for ${Math.round(memory / 1e6)} MB of them. Milliseconds.\n`,
  );
  console.log('| what | beside it | requests/s | p50 | p99 | most |\n|---|---|---|---|---|---|');
  const client = clientOf(server.url);
  const random = seeded(3);
  const jobOf = (among: number) => idOf('job', Math.floor(random() * among));
  const ask = async (ids: readonly string[]) => {
    const lookups = [{ feature_view: 'job', entity_ids: [...ids] }];
    (await client.lookup({ lookups }))[Symbol.dispose]();
  };
  const askOne = async (lasting: number) => askInFlight(1, lasting, async () => ask([jobOf(HOT)]));
  try {
    await askOne(1);
    print('one key', 'nothing', await askOne(seconds));
    for (const flight of [1, 4]) {
      const asking = askInFlight(flight, seconds, async () =>
        ask(Array.from({ length: IDS }, () => jobOf(jobs))),
      );
      const [one, many] = await Promise.all([askOne(seconds), asking]);
      print('one key', `${flight} × ${IDS} cold keys`, one);
      print(`${flight} × ${IDS} cold keys`, 'one key', many);
    }
  } finally {
    client.close();
    await server.close();
    group.remove();
  }
});

function print(what: string, beside: string, { rate, p50, p99, most }: Load): void {
  const cells = [rate.toFixed(0), ...[p50, p99, most].map((ms) => ms.toFixed(2))];
  console.log(`| ${what} | ${beside} | ${cells.join(' | ')} |`);
}
