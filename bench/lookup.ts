/**
 * What a lookup costs in process: against the length of a timeline, the size of a view, and the
 * distance of the moment asked. Run with `npm run bench:lookup`.
 */
import { gather, resolveMany } from '../src/timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../src/timetravel/question.ts';
import { batches, benchStore, percentile, printGround, seeded, timeRuns } from './measure.ts';

const IDS = 500;
const DIM = 384;

interface Shape {
  title: string;
  entities: number;
  revisions: number;
  asOf?: (random: () => number) => number;
}

const LATEST: Shape[] = [
  { title: '1,000 entities × 1 revision', entities: 1_000, revisions: 1 },
  { title: '1,000 entities × 20 revisions', entities: 1_000, revisions: 20 },
  { title: '100 entities × 1,000 revisions', entities: 100, revisions: 1_000 },
  { title: '1 entity × 100,000 revisions', entities: 1, revisions: 100_000 },
  { title: '100,000 entities × 1 revision', entities: 100_000, revisions: 1 },
  { title: '1,000,000 entities × 1 revision', entities: 1_000_000, revisions: 1 },
];

printGround();
console.log(`One question of ${IDS} random ids; milliseconds.\n`);
console.log('| timelines | dim | resolve p50 | p99 | resolve + gather p50 | p99 |');
console.log('|---|---|---|---|---|---|');
for (const { title, entities, revisions } of LATEST) {
  // The cost of resolving is the subject; short vectors keep a million of them small.
  await run(title, entities, revisions, 8, [undefined]);
}
console.log('\nLatest against as of a random moment of the last 20 revisions, in memory:\n');
console.log('| question | dim | resolve p50 | p99 | resolve + gather p50 | p99 |');
console.log('|---|---|---|---|---|---|');
await run('20 revisions', 5_000, 20, DIM, [undefined, 20, 10]);

async function run(
  title: string,
  entities: number,
  revisions: number,
  dim: number,
  spans: (number | undefined)[],
): Promise<void> {
  const { store, done } = benchStore(dim);
  const total = entities * revisions;
  const idOf = (at: number) => `job-${at % entities}`;
  for (const batch of batches(total, 5_000, dim, 'float32', idOf)) {
    await store.commit('job', 'v1', { rows: batch });
  }
  const version = store.version('job', 'v1');
  const random = seeded(3);
  const out = new Uint8Array(IDS * dim * 4);
  for (const span of spans) {
    const questions = Array.from({ length: 64 }, () => {
      const ids = Array.from({ length: IDS }, () => idOf(Math.floor(random() * entities)));
      const asOf = span && Math.floor((total - random() * span * entities) * 1e6);
      const question: Question = {
        asOf,
        boundary: 'inclusive',
        knowledge: 'event',
        knownAt: undefined,
        maxAge: ANY_AGE,
        now: 0,
        snapshot: store.snapshot,
      };
      return { ids, question };
    });
    let next = 0;
    const ask = () => {
      const { ids, question } = questions[next++ % questions.length]!;
      return resolveMany(version, ids, question);
    };
    const resolving = timeRuns(() => void ask());
    const both = timeRuns(() => gather(version.vectors, ask(), out));
    const name =
      span === undefined ? `${title}, latest` : `${title}, as of, within the last ${span}`;
    const cells = [resolving, both].flatMap((times) =>
      [0.5, 0.99].map((at) => percentile(times, at).toFixed(3)),
    );
    console.log(`| ${name} | ${dim} | ${cells.join(' | ')} |`);
  }
  await done();
}
