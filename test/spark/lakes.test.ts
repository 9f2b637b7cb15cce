import { join } from 'node:path';

import { expect, test } from 'vitest';

import { pythonWith, runPython } from '../python.ts';
import {
  askTidemark,
  exportLake,
  HOURS,
  type LakeAnswer,
  lakeQueries,
  pushHistory,
  seeded,
  spineOf,
  startForLake,
} from '../support/lake-history.ts';
import { tempDirectory } from '../support/temp.ts';

const SCRIPT = join(import.meta.dirname, 'lakes.py');
const PACKAGES = ['pyspark==4.3.0'];
const BUCKETS = 5;

test('Spark answers from a lake as Tidemark does, ties, corrections and tombstones included (A1, A2, A5, A6, A7)', async () => {
  const random = seeded(3);
  const api = await startForLake();
  const folder = tempDirectory();
  for (const to of [HOURS / 2, HOURS]) {
    await pushHistory(api, random, to / 2, to);
    await exportLake(api, folder, ['--buckets', String(BUCKETS)]);
  }
  const { snapshot } = await exportLake(api, folder);
  // Not in the lake, and so not asked for.
  await pushHistory(api, random, HOURS, HOURS + 24);
  const spine = spineOf(random, 2_000);
  const question = { knowledge: 'input', max_age: 'P30D', at_snapshot: String(snapshot) };
  const expected = await askTidemark(api, spine, question);
  const python = await pythonWith(PACKAGES);
  const [code] = lakeQueries('python spark');
  const asked = JSON.stringify({ code, spine, folder, buckets: BUCKETS });
  const answer = JSON.parse(await runPython(python, [SCRIPT], asked)) as {
    rows: LakeAnswer[];
    buckets: [number, number][];
    misplaced: number;
  };
  expect(answer.rows).toEqual(expected);
  // Rows are where their id and their day say.
  expect(answer.buckets.length).toBe(BUCKETS);
  for (const [bucket, computed] of answer.buckets) expect(bucket).toBe(computed);
  expect(answer.misplaced).toBe(0);
});
