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
  type SpineRow,
  spineOf,
  startForLake,
} from '../support/lake-history.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';

const SCRIPT = join(import.meta.dirname, 'lakes.py');
const INPUT = 'greatest(event_timestamp, known_timestamp)';
const AGE = 'INTERVAL 720 HOUR';

/** What another question is in the query: the expressions in the page's table. */
const QUESTIONS: [question: Record<string, string>, changes: [from: string, to: string][]][] = [
  [{ knowledge: 'input', max_age: 'P30D' }, []],
  [{ knowledge: 'event', max_age: 'P30D' }, [[INPUT, 'event_timestamp']]],
  [
    { knowledge: 'served', max_age: 'none' },
    [
      [INPUT, 'greatest(event_timestamp, created_timestamp)'],
      [AGE, 'INTERVAL 24000000 HOUR'],
    ],
  ],
  [
    { knowledge: 'input', boundary: 'exclusive', max_age: 'P3D' },
    [
      [INPUT, 'greatest(event_timestamp + INTERVAL 1 MICROSECOND, known_timestamp)'],
      [AGE, 'INTERVAL 72 HOUR'],
    ],
  ],
  [
    { knowledge: 'event', known_at: '2026-02-10T00:00:00Z', max_age: 'P30D' },
    [
      [INPUT, 'event_timestamp'],
      ['WHERE seq', "WHERE known_timestamp <= TIMESTAMPTZ '2026-02-10T00:00:00Z' AND seq"],
    ],
  ],
];

async function askDuckDb(
  folder: string,
  spine: readonly SpineRow[],
  changes: readonly [from: string, to: string][],
): Promise<LakeAnswer[]> {
  const queries = lakeQueries('sql duckdb').map((query) => {
    const rooted = query.replaceAll("'lake/", `'${folder}/lake/`);
    return changes.reduce((text, [from, to]) => text.replace(from, to), rooted);
  });
  for (const [, to] of changes) expect(queries.join('')).toContain(to);
  const python = await pythonWith(TRAINER_PACKAGES);
  const answer = await runPython(python, [SCRIPT], JSON.stringify({ queries, spine }));
  return JSON.parse(answer) as LakeAnswer[];
}

test.each([1, 2])(
  'DuckDB answers from a lake as Tidemark does, ties, corrections and tombstones included (A1, A2, A5, A6, A7; seed %i)',
  async (seed) => {
    const random = seeded(seed);
    const api = await startForLake();
    const folder = tempDirectory();
    for (const to of [HOURS / 4, HOURS / 2, HOURS]) {
      await pushHistory(api, random, to / 2, to);
      await exportLake(api, folder, ['--buckets', '12']);
    }
    const { snapshot } = await exportLake(api, folder);
    // Not in the lake, and so not asked for.
    await pushHistory(api, random, HOURS, HOURS + 24);
    const spine = spineOf(random, 400);
    for (const [question, changes] of QUESTIONS) {
      const asked = { ...question, at_snapshot: String(snapshot) };
      const expected = await askTidemark(api, spine, asked);
      // What the test is about is there.
      const seen = new Set(expected.map(({ status, deleted }) => `${status} ${deleted}`));
      expect(seen.size).toBeGreaterThanOrEqual(question['max_age'] === 'none' ? 3 : 4);
      expect(await askDuckDb(folder, spine, changes)).toEqual(expected);
    }
  },
);
