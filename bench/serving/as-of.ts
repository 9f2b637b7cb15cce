/**
 * Lookups as of random moments of twenty revisions an entity, beside lookups of the latest, over
 * HTTP and in process. Run with `npm run bench -- as-of`.
 */
import { formatInstant, micros, systemClock } from '../../src/ground/time.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { type DataSet, dataSetText, DAY, FIRST_EVENT, idOf } from '../harness/data-set.ts';
import { distinct, uniform } from '../harness/keys.ts';
import { latestOf } from '../harness/latest.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { seeded } from '../harness/random.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { percentile } from '../harness/statistics.ts';
import { timeRuns } from '../harness/timing.ts';
import { clientOf } from './askers.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { servingText, withServer } from './running.ts';

const DIM = 768;
const REVISIONS = 20;
const IDS = 500;
const QUESTIONS = 128;
const FLIGHTS = [1, 8, 64];
/** The default of serving.resident_bytes. */
const RESIDENT_BYTES = 2 ** 29;

const options = askedOptions(['workers']);
const { isStandard } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 2, 5_000] : [1, 1, 1_000];
const dataSet: DataSet = { dim: DIM, revisions: REVISIONS, views: { job: jobs } };
const random = seeded(5);
const questions = Array.from({ length: QUESTIONS }, () => ({
  entity_ids: distinct(uniform(jobs), random, IDS).map((entity) => idOf('job', entity)),
  // All entities have a first revision by then.
  as_of: FIRST_EVENT + Math.floor(random() * REVISIONS * DAY),
}));
/** Of as many vectors as the latest: what asking of a moment costs by itself. */
const MIDDLE = FIRST_EVENT + (REVISIONS / 2) * DAY;
const ASKED: { name: string; momentOf: (random: number) => number | undefined }[] = [
  { name: 'Tidemark, latest', momentOf: () => undefined },
  { name: 'Tidemark, as of random moments', momentOf: (moment) => moment },
  { name: 'Tidemark, as of one moment', momentOf: () => MIDDLE },
];

await withServer(dataSet, options, async ({ server, data }) => {
  const client = clientOf(server.url);
  const overHttp = FLIGHTS.flatMap((flight) =>
    ASKED.map(({ name, momentOf }): Contender => {
      const ask = async (at: number) => {
        const { entity_ids, as_of } = questions[at % QUESTIONS]!;
        const moment = momentOf(as_of);
        using answer = await client.lookup({
          lookups: [{ feature_view: 'job', entity_ids }],
          ...(moment !== undefined && { as_of: formatInstant(micros(moment)) }),
        });
        if (answer.results[0]!.rows !== IDS) throw new Error('an answer is not whole');
      };
      return {
        name,
        group: `over HTTP, ${flight} in flight`,
        turn: async () => measured(server.pid, async () => askInFlight(flight, seconds, ask)),
      };
    }),
  );
  const rows = await measureInTurns(overHttp, rounds);
  client.close();
  await server.close();
  const store = openStore(data, systemClock, { residentBytes: RESIDENT_BYTES });
  rows.push(...(await measureInTurns(inProcess(store), rounds)));
  await store.close();
  publishRows({
    name: pageName('as-of', options),
    title: 'As of a random moment, beside the latest',
    command: commandOf('as-of', options),
    text: [
      `Of ${dataSetText(dataSet)}, a day apart: ${IDS} different entities a request, all as likely, the latest, or as of a moment that is as likely at any time from the first revision to a day after the last. ${QUESTIONS} prepared requests are asked in turn, of the same entities in both. Over HTTP through tidemark/client; in process is resolving and gathering alone. The latest are a twentieth of the vectors, and so nearer to the processor; so are those as of one moment, the same in all requests.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['p50', 'rate'],
    baselines: [{ name: 'Tidemark, latest', metric: 'rate' }],
    results: { data_set: dataSet, workers: options.workers, rounds, seconds },
    isStandard,
  });
});

/** By the program's own functions. */
function inProcess(store: Store): Contender[] {
  const out = new Uint8Array(IDS * DIM * 4);
  let next = 0;
  return ASKED.map(({ name, momentOf }) => ({
    name,
    group: 'in process',
    async turn() {
      const times = timeRuns(() => {
        const { entity_ids, as_of } = questions[next++ % QUESTIONS]!;
        const version = store.version('job', 'v1');
        const resolution = resolveMany(version, entity_ids, {
          ...latestOf(store),
          asOf: momentOf(as_of),
        });
        gather(version.vectors, resolution, out);
      }, seconds);
      const total = times.reduce((sum, time) => sum + time, 0);
      return {
        rate: (times.length / total) * 1_000,
        p50: percentile(times, 0.5),
        p99: percentile(times, 0.99),
      };
    },
  }));
}
