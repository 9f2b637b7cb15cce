/**
 * Lookups in process beside what copying the same bytes costs, and LMDB's own library reading the
 * same keys: `npm run bench -- lookup-floor`.
 */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { systemClock } from '../../src/ground/time.ts';
import { openStore } from '../../src/store/store.ts';
import { pinLoad } from '../harness/cores.ts';
import { type DataSet, dataSetText, idOf, makeStore } from '../harness/data-set.ts';
import { withFolder } from '../harness/folder.ts';
import { uniform } from '../harness/keys.ts';
import { askedOptions } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { seeded } from '../harness/random.ts';
import { type Contender, measureInTurns, turnsText } from '../harness/rows.ts';
import { medianOf } from '../harness/statistics.ts';
import { poolOf } from '../store/vector-pool.ts';
import { writeEntries } from './entries.ts';
import { compileReader, copying, inC, lookups, type Reader } from './readers.ts';

const IDS = 501;
const QUESTIONS = 64;
const DIM = 768;
const VECTOR_BYTES = DIM * 4;
/** More than the vectors. */
const RESIDENT_BYTES = 2 ** 29;

const options = askedOptions();
const [entities, rounds, seconds] = options.isStandard ? [50_000, 9, 1] : [5_000, 3, 0.3];
const dataSet: DataSet = { dim: DIM, revisions: 1, views: { job: entities } };

await withFolder(async (folder) => {
  pinLoad();
  const path = (name: string) => join(folder, name);
  await makeStore(path('store'), dataSet);
  const files = path('store/views/job/v1');
  for (const database of ['timeline', 'vector']) {
    await writeEntries(files, database, path(database));
  }
  cpSync(path('store'), path('resident'), { recursive: true });
  const pool = poolOf(entities, DIM);
  writeFileSync(path('pool'), pool);
  const random = seeded(3);
  const anyone = uniform(entities);
  const questions = Array.from({ length: QUESTIONS }, () =>
    Array.from({ length: IDS }, () => anyone(random)),
  );
  const lines = questions.flat().map((entity) => `${idOf('job', entity)}\n`);
  writeFileSync(path('questions'), lines.join(''));
  const program = compileReader(folder);
  const sizes = [path('questions'), `${IDS}`, `${VECTOR_BYTES}`];
  const readers = [
    inC('memcpy', program, ['copy', path('pool'), ...sizes]),
    copying(pool, questions, VECTOR_BYTES),
    inC('LMDB in C', program, ['lmdb', folder, ...sizes, path('timeline'), path('vector')]),
    lookups(
      'Tidemark, resident',
      openStore(path('resident'), systemClock, { residentBytes: RESIDENT_BYTES }),
      questions,
    ),
    lookups('Tidemark, of the file', openStore(path('store'), systemClock), questions),
  ];
  const digests = new Map<string, number>();
  const rows = await measureInTurns(
    readers.map((reader) => contenderOf(reader, digests)),
    rounds,
  );
  for (const reader of readers) await reader.close();
  publishRows({
    name: 'lookup-floor',
    title: 'Lookups beside their floor',
    command: 'npm run bench -- lookup-floor',
    text: [
      `${IDS} vectors a question, ${QUESTIONS} questions in turn, of ${dataSetText(dataSet)}, any as often as any other; all in memory, one thread on one core, and no HTTP. All write the same bytes into one buffer, which is checked. ${turnsText(rounds, `${seconds} s`)}`,
      '`memcpy` knows where each vector lies, in C and in JavaScript. LMDB’s own library, in C, reads the same two entries a vector (timeline and vector, with the same bytes) from an environment of its own. Tidemark is asked with ids as texts; resident, what it read lies in its own memory, as it does in the server; of the file, every read goes through lmdb, and a timeline’s checksum is verified each time.',
    ],
    metrics: [
      { key: 'question', title: 'µs a question', unit: 'µs', better: 'less' },
      { key: 'vector', title: 'ns a vector', unit: 'ns', better: 'less' },
      { key: 'gigabytes', title: 'GB/s', unit: 'GB/s', better: 'more' },
    ],
    rows,
    plotted: ['question'],
    baselines: [{ name: 'memcpy', metric: 'question' }],
    results: { data_set: dataSet, ids: IDS, questions: QUESTIONS, rounds, seconds },
    isStandard: options.isStandard,
  });
});

function contenderOf(reader: Reader, digests: Map<string, number>): Contender {
  return {
    name: reader.name,
    group: '',
    async turn() {
      const runs: number[] = [];
      for (let spent = 0; spent < seconds; spent += runs.at(-1)!) {
        const { seconds: once, digest } = await reader.run();
        runs.push(once);
        digests.set(reader.name, digest);
      }
      if (new Set(digests.values()).size > 1) {
        throw new Error(`not the same bytes: ${JSON.stringify([...digests])}`);
      }
      const question = medianOf(runs) / QUESTIONS;
      return {
        question: question * 1e6,
        vector: (question / IDS) * 1e9,
        gigabytes: (IDS * VECTOR_BYTES) / question / 1e9,
      };
    },
  };
}
