import { readFileSync } from 'node:fs';

import { tableFromIPC } from 'apache-arrow';
import { afterAll, expect, onTestFinished, test } from 'vitest';

import type { Store } from '../../../src/store/store.ts';
import type { AnswerFormat } from '../../../src/timetravel/formats/answer.ts';
import type { Vectors } from '../../../src/timetravel/join/plan.ts';
import { JoinPool } from '../../../src/timetravel/join/pool.ts';
import { openSpineFile } from '../../../src/timetravel/spine/source.ts';
import { planOf, refOf } from '../../support/join-plan.ts';
import { arrowSpine, sourceOf, type SpineRow, targetIn, windowsOf } from '../../support/joins.ts';
import { batchOf, testStore } from '../../support/store.ts';

const pool = new JoinPool(1);

afterAll(async () => pool.close());

const FORMATS: [AnswerFormat, Vectors][] = [
  ['arrow', 'inline'],
  ['arrow', 'ref'],
  ['parquet', 'inline'],
  ['parquet', 'ref'],
  ['ndjson', 'inline'],
  ['ndjson', 'ref'],
  ['safetensors', 'inline'],
];

/** Spines of which no row has a vector, and why. */
const SPINES: Record<string, { rows: SpineRow[]; words: string[] }> = {
  'no rows': { rows: [], words: [] },
  'rows that are all INVALID': {
    rows: [
      { id: null, moment: 5 },
      { id: 'a', moment: null },
      { id: null, moment: null },
    ],
    words: ['BAD_ENTITY_ID', 'BAD_TIMESTAMP', 'BAD_TIMESTAMP'],
  },
  'rows older than all history': {
    rows: [
      { id: 'a', moment: 9 },
      { id: 'b', moment: -1e15 },
      { id: 'nobody', moment: 9 },
    ],
    words: ['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND'],
  },
};

/** The columns that a join has added, of a file in any format of tables, read as a spine of its own. */
async function addedIn(store: Store, path: string, format: AnswerFormat, rows: number) {
  if (format === 'safetensors') return undefined;
  const limits = { rowsMax: 100, bytesMax: 2 ** 20, lineBytesMax: 2 ** 16 };
  let source;
  if (format === 'ndjson') {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const summary = JSON.parse(lines.pop()!) as { __summary: { rows: number } };
    expect(summary['__summary'].rows).toBe(rows);
    source = sourceOf(lines.join('\n'), 100, 'ndjson');
  } else {
    source = await openSpineFile(path, format, limits);
  }
  onTestFinished(async () => source.close());
  if (format === 'ndjson' && rows === 0) return undefined;
  const plan = planOf(store, { refs: [refOf(store, 'job', { name: 'again' })] });
  const target = targetIn();
  await windowsOf({ store, pool, plan, source, target });
  return tableFromIPC(readFileSync(target.part(0)));
}

test.each(FORMATS)(
  'a spine of which nothing is answered has its rows and no vector, in files of %s with vectors %s (A11)',
  async (format, vectors) => {
    const store = testStore();
    const revisions = ['a', 'b'].map((id) => ({ id, event: 10, vector: [1, 2] }));
    await store.commit('job', 'v1', { rows: batchOf(revisions) });
    for (const [what, { rows, words }] of Object.entries(SPINES)) {
      const target = targetIn();
      const source = sourceOf(arrowSpine(rows), 100);
      const plan = planOf(store, { format, vectors });
      const windows = await windowsOf({ store, pool, plan, source, target });
      expect(windows.map((window) => [window.rows, window.part?.rows])).toEqual([
        [rows.length, rows.length],
      ]);
      expect(windows[0]!.shards ?? [undefined]).toEqual([undefined]);
      const table = await addedIn(store, target.part(0), format, rows.length);
      if (table === undefined) continue;
      const cells = (name: string): unknown[] => [...table.getChild(`job__${name}`)!];
      const [statuses, reasons] = [cells('status'), cells('reason')];
      const found = statuses.map((status, row) => reasons[row] ?? status);
      expect([what, found]).toEqual([what, words]);
      const none = cells(vectors === 'ref' ? 'vector_row' : 'vector');
      expect([what, none]).toEqual([what, words.map(() => null)]);
    }
  },
);
