/**
 * Scores of 500 jobs for a member, computed where the vectors are, beside the same vectors fetched
 * and scored by the client. Run with `npm run bench -- score`.
 */
import { type DataSet, dataSetText } from '../harness/data-set.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { clientOf } from './askers.ts';
import { measured, SERVING_METRICS } from './measure.ts';
import { JOBS, KEYS_TEXT, lookupOf, type Ranking, rankingsOf } from './ranking.ts';
import { servingText, withServer } from './running.ts';

const DIM = 768;
const FLIGHTS = [1, 8, 64];
const VECTORS = 'Tidemark, vectors scored by the client';
/** Of float32 against float64: the client adds up in float64. */
const TOLERANCE = 1e-3;

const options = askedOptions(['workers']);
const { isStandard } = options;
const [rounds, seconds, jobs] = isStandard ? [5, 2, 50_000] : [1, 1, 10_000];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: jobs, member: jobs / 10 } };

await withServer(dataSet, options, async ({ server }) => {
  const client = clientOf(server.url);
  const rankings = rankingsOf(dataSet, 'uniform');

  async function scored({ member, jobs: entity_ids }: Ranking): Promise<Float32Array> {
    const query = { feature_view: 'member', entity_id: member };
    const { scores } = await client.score({ query, feature_view: 'job', entity_ids });
    return scores;
  }

  async function fetched(ranking: Ranking): Promise<Float32Array> {
    using answer = await client.lookup(lookupOf(ranking));
    const [member, found] = [answer.result('member'), answer.result('job')];
    const scores = new Float32Array(found.rows);
    for (let row = 0; row < found.rows; row++) {
      scores[row] = dot(member.vectors, found.vectors, row * DIM);
    }
    return scores;
  }

  requireClose(await scored(rankings[0]!), await fetched(rankings[0]!));
  const ways = { 'Tidemark, scores': scored, [VECTORS]: fetched };
  const contenders = FLIGHTS.flatMap((flight) =>
    Object.entries(ways).map(([name, way]): Contender => {
      const ask = async (at: number) => way(rankings[at % rankings.length]!);
      return {
        name,
        group: `${flight} in flight`,
        turn: async () => measured(server.pid, async () => askInFlight(flight, seconds, ask)),
      };
    }),
  );
  const rows = await measureInTurns(contenders, rounds);
  client.close();
  publishRows({
    name: pageName('score', options),
    title: 'Scores of 500 jobs, beside vectors that the client scores',
    command: commandOf('score', options),
    text: [
      `Of ${dataSetText(dataSet)}: the dot products of a member and ${JOBS} jobs, by POST /v1/score, or by a lookup of the ${JOBS + 1} vectors and a loop over them in the client; both through tidemark/client, and both with the same numbers. ${KEYS_TEXT} Here they are uniform. All is warm.`,
      servingText(rounds, `${seconds} s`, options),
    ],
    metrics: SERVING_METRICS,
    rows,
    plotted: ['rate', 'p99'],
    baselines: [{ name: VECTORS, metric: 'rate' }],
    results: { data_set: dataSet, workers: options.workers, rounds, seconds },
    isStandard,
  });
});

type Numbers = ArrayLike<number>;

function dot(a: Numbers, b: Numbers, from: number): number {
  let sum = 0;
  for (let at = 0; at < DIM; at++) sum += a[at]! * b[from + at]!;
  return sum;
}

function requireClose(a: Float32Array, b: Float32Array): void {
  const isClose = a.every((score, row) => Math.abs(score / b[row]! - 1) < TOLERANCE);
  if (!isClose || a.length !== JOBS) throw new Error('the scores are not the same');
}
