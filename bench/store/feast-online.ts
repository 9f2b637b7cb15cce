/** Lookups beside Feast’s feature server: `npm run bench -- feast-online`. */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';

import { LookupAnswer } from '../../src/client/lookup-answer.ts';
import { pythonWith } from '../../test/python.ts';
import { pinLoad, serverCores } from '../harness/cores.ts';
import { idOf, makeStore } from '../harness/data-set.ts';
import { withFolder } from '../harness/folder.ts';
import { distinct, uniform } from '../harness/keys.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { seeded } from '../harness/random.ts';
import { type Contender, measureInTurns, type Row } from '../harness/rows.ts';
import type { Server } from '../harness/server.ts';
import { measured, SERVING_METRICS } from '../serving/measure.ts';
import { servingText, startPinned } from '../serving/running.ts';
import { FEAST_SERVING_PACKAGES, feastOnRedis, feastOnSqlite } from './feast-servers.ts';
import { post } from './post.ts';
import { poolOf } from './vector-pool.ts';

const ENTITIES = 5_000;
const KEYS = [100, 500];
const FLIGHTS = [1, 8];
const QUESTIONS = 16;
const JSON_TYPE = 'application/json';
const SAFETENSORS = 'application/vnd.safetensors';

const options = askedOptions(['workers']);
const [dims, rounds, seconds] = options.isStandard ? [[128, 768], 3, 1] : [[128], 1, 0.5];

/** How somebody is asked for the vectors of jobs. */
interface Asked {
  name: string;
  pid: number;
  url: string;
  accept: string;
  body: (ids: readonly string[]) => object;
  vectors: (answer: Buffer) => Float32Array;
}

const python = await pythonWith(FEAST_SERVING_PACKAGES);
const rows: Row[] = [];
await withFolder(async (folder) => {
  pinLoad();
  for (const dim of dims) rows.push(...(await measure(join(folder, `${dim}`), dim)));
});
publishRows({
  name: pageName('feast-online', options),
  title: 'Lookups beside Feast’s feature server',
  command: commandOf('feast-online', options),
  text: [
    `\`POST /get-online-features\` of \`feast serve\` (${FEAST_SERVING_PACKAGES[0]}, one worker, no access log) over its SQLite and its Redis online store, the same path of Tidemark, and Tidemark’s own lookup as JSON and as safetensors. ${ENTITIES.toLocaleString('en')} entities, vectors of float32; different keys in one question, any as often as any other. Answers are read and not parsed; before each turn one is parsed and compared with what was written, bit by bit. Feast’s CPU time is without that of its Redis.`,
    servingText(rounds, `${seconds} s`, options),
  ],
  metrics: [...SERVING_METRICS, { key: 'kilobytes', title: 'kB an answer', unit: 'kB' }],
  rows,
  plotted: ['p50'],
  baselines: ['Feast, SQLite', 'Feast, Redis'].map((name) => ({ name, metric: 'rate' })),
  results: {
    entities: ENTITIES,
    workers: options.workers,
    rounds,
    seconds,
    packages: FEAST_SERVING_PACKAGES,
  },
  isStandard: options.isStandard,
});

async function measure(folder: string, dim: number): Promise<Row[]> {
  const data = join(folder, 'store');
  await mkdir(folder);
  await makeStore(data, { dim, revisions: 1, views: { job: ENTITIES } });
  const pool = poolOf(ENTITIES, dim);
  const vectors = join(folder, 'vectors');
  writeFileSync(vectors, pool);
  const server = await startPinned(folder, data, options);
  const repository = { python, folder, vectors, dim, cores: serverCores() };
  const feasts = [await feastOnSqlite(repository), await feastOnRedis(repository)];
  const asked = [...tidemarks(server), ...feasts.map((feast) => features(feast))];
  const agent = new Agent({ keepAlive: true });
  const contenders = KEYS.flatMap((keys) =>
    FLIGHTS.flatMap((flight) =>
      asked.map((one) => contenderOf({ asked: one, agent, keys, flight, dim, pool })),
    ),
  );
  const taken = await measureInTurns(contenders, rounds);
  agent.destroy();
  await server.close();
  for (const feast of feasts) await feast.close();
  return taken;
}

function tidemarks({ pid, url }: Server): Asked[] {
  const lookup = {
    pid,
    url: `${url}/v1/lookup`,
    body: (entity_ids: readonly string[]) => ({ lookups: [{ feature_view: 'job', entity_ids }] }),
  };
  return [
    {
      ...lookup,
      name: 'Tidemark, safetensors',
      accept: SAFETENSORS,
      // In memory that begins where numbers may.
      vectors: (answer) =>
        new LookupAnswer(new Uint8Array(answer), () => {}).result('job').vectors as Float32Array,
    },
    {
      ...lookup,
      name: 'Tidemark, JSON',
      accept: JSON_TYPE,
      vectors: (answer) => numbersIn((parsed(answer) as LookupText).results[0].vectors),
    },
    features({ name: 'Tidemark, as Feast', pid, url }),
  ];
}

interface LookupText {
  results: [{ vectors: number[][] }];
}

function features({ name, pid, url }: Pick<Asked, 'name' | 'pid' | 'url'>): Asked {
  return {
    name,
    pid,
    url: `${url}/get-online-features`,
    accept: JSON_TYPE,
    body: (ids) => ({ features: ['job:vector'], entities: { job_id: ids } }),
    // The column of ids comes first.
    vectors: (answer) => numbersIn((parsed(answer) as FeatureText).results[1]!.values),
  };
}

interface FeatureText {
  results: { values: number[][] }[];
}

function parsed(answer: Buffer): unknown {
  return JSON.parse(answer.toString());
}

function numbersIn(vectors: readonly number[][]): Float32Array {
  return Float32Array.from(vectors.flat());
}

interface Measuring {
  asked: Asked;
  agent: Agent;
  keys: number;
  flight: number;
  dim: number;
  pool: Float32Array;
}

function contenderOf({ asked, agent, keys, flight, dim, pool }: Measuring): Contender {
  const random = seeded(3);
  const anyone = uniform(ENTITIES);
  const questions = Array.from({ length: QUESTIONS }, () => distinct(anyone, random, keys));
  const bodies = questions.map((entities) => {
    const ids = entities.map((entity) => idOf('job', entity));
    return Buffer.from(JSON.stringify(asked.body(ids)));
  });
  const headers = { 'content-type': JSON_TYPE, accept: asked.accept };
  const ask = async (at: number) => post(agent, asked.url, bodies[at % QUESTIONS]!, headers);
  return {
    name: asked.name,
    group: `${keys} keys × ${dim}, ${flight} in flight`,
    async turn() {
      const answer = await ask(0);
      requireEqual(asked, answer, questions[0]!, dim, pool);
      const numbers = await measured(asked.pid, async () => askInFlight(flight, seconds, ask));
      return { ...numbers, kilobytes: answer.byteLength / 1e3 };
    },
  };
}

function requireEqual(
  { name, vectors }: Asked,
  answer: Buffer,
  entities: readonly number[],
  dim: number,
  pool: Float32Array,
): void {
  const told = vectors(answer);
  for (const [row, entity] of entities.entries()) {
    for (let at = 0; at < dim; at++) {
      const [is, should] = [told[row * dim + at], pool[entity * dim + at]];
      if (is !== should) throw new Error(`${name}: ${is} of entity ${entity}, not ${should}`);
    }
  }
}
