/**
 * What checksums cost a lookup in process: 500 vectors of random ids, resolved and gathered, in
 * turns. Run with `npm run bench -- checksums`.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import { systemClock } from '../../src/ground/time.ts';
import { chunkBytes } from '../../src/store/chunk.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { idOf, makeStore } from '../harness/data-set.ts';
import { newFolder, removeFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { latestOf } from '../harness/latest.ts';
import { seeded } from '../harness/random.ts';
import { medianOf } from '../harness/statistics.ts';
import { timeRuns } from '../harness/timing.ts';
import { takeTurns } from '../harness/turns.ts';

const IDS = 500;
const ENTITIES = 20_000;
const ROUNDS = 5;
const SECONDS = 0.4;

interface Contender {
  name: string;
  /** One lookup, or what of it is looked at alone. */
  run: (ids: readonly string[]) => void;
  times: number[];
}

printGround();
console.log(`Milliseconds of a lookup of ${IDS} ids, the median of ${ROUNDS} rounds.\n`);
console.log('| dim | what | ms | µs a vector |\n|---|---|---|---|');
for (const dim of [384, 768, 1_536]) await measure(dim);

async function measure(dim: number): Promise<void> {
  const folder = newFolder();
  const [first, second] = [join(folder, 'file'), join(folder, 'resident')];
  await makeStore(first, { dim, revisions: 1, views: { job: ENTITIES } });
  cpSync(first, second, { recursive: true });
  const file = openStore(first, systemClock);
  const resident = openStore(second, systemClock, { residentBytes: 2 ** 30 });
  const random = seeded(11);
  const questions = Array.from({ length: 64 }, () =>
    Array.from({ length: IDS }, () => idOf('job', Math.floor(random() * ENTITIES))),
  );
  const contenders = contendersOf(file, resident, dim);
  await takeTurns(contenders, ROUNDS, async ({ run, times }, isWarmUp) => {
    let next = 0;
    // The first round reads every vector, and so verifies it.
    const turn = timeRuns(() => run(questions[next++ % questions.length]!), SECONDS);
    if (!isWarmUp) times.push(medianOf([...turn]));
  });
  for (const { name, times } of contenders) {
    const ms = medianOf(times);
    console.log(`| ${dim} | ${name} | ${ms.toFixed(3)} | ${((ms / IDS) * 1_000).toFixed(2)} |`);
  }
  await Promise.all([file.close(), resident.close()]);
  removeFolder(folder);
}

function contendersOf(file: Store, resident: Store, dim: number): Contender[] {
  const out = Buffer.alloc(IDS * dim * 4);
  const ofFile = file.version('job', 'v1');
  const ofMemory = resident.version('job', 'v1');
  const [inFile, inMemory] = [latestOf(file), latestOf(resident)];
  const { vectors } = ofFile;
  const { vectorBytes } = vectors;
  const chunk = Buffer.alloc(chunkBytes(1) - 4, 7);
  const of = (name: string, run: Contender['run']): Contender => ({ name, run, times: [] });
  return [
    of('from the file, each vector verified once', (ids) => {
      gather(vectors, resolveMany(ofFile, ids, inFile), out);
    }),
    of('from the file, each vector verified each time', (ids) => {
      const { vectorIds } = resolveMany(ofFile, ids, inFile);
      for (let row = 0; row < IDS; row++) {
        vectors.copyVerified(vectorIds[row]!, out, row * vectorBytes);
      }
    }),
    of('resident, verified when it came', (ids) => {
      gather(ofMemory.vectors, resolveMany(ofMemory, ids, inMemory), out);
    }),
    of('CRC-32 of the vectors alone', () => {
      for (let row = 0; row < IDS; row++) {
        crc32(out.subarray(row * vectorBytes, (row + 1) * vectorBytes));
      }
    }),
    of('CRC-32 of the heads alone, as each read of the file has it', () => {
      for (let row = 0; row < IDS; row++) crc32(chunk);
    }),
  ];
}
