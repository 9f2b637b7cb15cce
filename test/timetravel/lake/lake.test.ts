import { readdirSync } from 'node:fs';

import { expect, test } from 'vitest';

import { Client } from '../../../src/cli/client.ts';
import type { Frame, Watermark } from '../../../src/store/change-frames.ts';
import { exportChanges } from '../../../src/timetravel/lake/export.ts';
import { Lake, type LakeSubject } from '../../../src/timetravel/lake/lake.ts';
import type { Api } from '../../api/harness.ts';
import { pushHistory, seeded, startForLake } from '../../support/lake-history.ts';
import { type LakeRow, readLake } from '../../support/lake-table.ts';
import { tempDirectory } from '../../support/temp.ts';

const SUBJECT: LakeSubject = {
  feature_view: 'job',
  version: 'v1',
  entity: 'job',
  join_key: 'job_id',
  dim: 2,
  dtype: 'float32',
};
/** Every change is a window of its own. */
const TINY = { rows: 1, vectorBytes: 1 };

/** The changes after a seq, each with its watermark. */
async function framesAfter(api: Api, after: number): Promise<Frame[]> {
  const frames = await Array.fromAsync(new Client(api.url).changes('job', after));
  const last = frames.at(-1) as Watermark;
  return frames.flatMap((frame): Frame[] => {
    if (frame.type !== 'changes') return [frame];
    return frame.changes.flatMap((change) => [
      { ...frame, changes: [change] },
      { ...last, up_to: change.seq },
    ]);
  });
}

async function* inOrder(frames: readonly Frame[]): AsyncGenerator<Frame> {
  yield* frames;
}

async function exportInto(
  table: string,
  framesOf: (after: number) => Promise<Frame[]>,
  window = TINY,
): Promise<unknown> {
  const lake = new Lake(table, SUBJECT, { buckets: 2, revisions: 0, window });
  try {
    const frames = await framesOf(lake.summary.after);
    return await exportChanges(lake, inOrder(frames), () => {});
  } finally {
    lake.close();
  }
}

function upTo(rows: readonly LakeRow[], snapshot: number): LakeRow[] {
  return rows.filter(({ seq }) => seq <= snapshot);
}

test('small windows make more files of the same rows', async () => {
  const api = await startForLake();
  await pushHistory(api, seeded(1), 0, 48, 80);
  const [tiny, whole] = [tempDirectory(), tempDirectory()];
  await exportInto(tiny, async (after) => framesAfter(api, after));
  await exportInto(whole, async (after) => framesAfter(api, after), {
    rows: 1e4,
    vectorBytes: 1e6,
  });
  const [ofTiny, ofWhole] = [await readLake(tiny), await readLake(whole)];
  expect(ofTiny.rows).toEqual(ofWhole.rows);
  expect(ofTiny.vectors).toEqual(ofWhole.vectors);
  expect(ofTiny.files.length).toBeGreaterThan(ofTiny.rows.length);
  expect(ofWhole.files.length).toBeLessThan(10);
});

test('an export that breaks off anywhere is gone on with, and what its state tells is whole', async () => {
  const api = await startForLake();
  const table = tempDirectory();
  const random = seeded(2);
  await pushHistory(api, random, 0, 48, 80);
  const whole = tempDirectory();
  await exportInto(whole, async (after) => framesAfter(api, after));
  const { rows } = await readLake(whole);
  for (let breaks = 0; breaks < 8; breaks++) {
    let after = 0;
    const broken = exportInto(table, async (from) => {
      after = from;
      const frames = await framesAfter(api, from);
      return frames.slice(0, 1 + Math.floor(random() * 25));
    });
    await expect(broken).rejects.toThrow(/the server ended at the change \d+ of \d+: export again/);
    const lake = new Lake(table, SUBJECT, { revisions: 0 });
    const { snapshot } = lake.summary;
    lake.close();
    expect(snapshot).toBeGreaterThanOrEqual(after);
    // Whatever was beyond it is gone by now.
    expect((await readLake(table)).rows).toEqual(upTo(rows, snapshot));
  }
  await exportInto(table, async (after) => framesAfter(api, after));
  expect((await readLake(table)).rows).toEqual(rows);
});

test('an erasure is not written down as done before its rows are gone (A8)', async () => {
  const api = await startForLake();
  const table = tempDirectory();
  await pushHistory(api, seeded(3), 0, 24, 40);
  await exportInto(table, async (after) => framesAfter(api, after));
  const before = await readLake(table);
  const erased = before.rows[0]!.entity_id;
  await pushHistory(api, seeded(4), 24, 48, 40);
  await api.send('POST', '/v1/erase', { entity: 'job', entity_ids: [erased] });
  const broken = exportInto(table, async (after) => (await framesAfter(api, after)).slice(0, -4));
  await expect(broken).rejects.toThrow(/export again/);
  const lake = new Lake(table, SUBJECT, { revisions: 0 });
  lake.close();
  expect(lake.summary.snapshot).toBe(before.rows.at(-1)!.seq);
  await exportInto(table, async (after) => framesAfter(api, after));
  const { rows, vectors } = await readLake(table);
  expect(rows.some(({ entity_id }) => entity_id === erased)).toBe(false);
  const fresh = tempDirectory();
  await exportInto(fresh, async (after) => framesAfter(api, after));
  expect({ rows, vectors: new Map([...vectors].toSorted(([a], [b]) => a - b)) }).toEqual({
    rows: (await readLake(fresh)).rows,
    vectors: (await readLake(fresh)).vectors,
  });
});

test('one export at a time has a table', () => {
  const table = tempDirectory();
  const lake = new Lake(table, SUBJECT, { revisions: 0 });
  expect(() => new Lake(table, SUBJECT, { revisions: 0 })).toThrow(/is open in another process/);
  lake.close();
  new Lake(table, SUBJECT, { revisions: 0 }).close();
});

test('a table that was only looked at is not one yet', async () => {
  const table = tempDirectory();
  new Lake(table, SUBJECT, { revisions: 0 }).close();
  expect(readdirSync(table).toSorted()).toEqual(['_tidemark', 'revisions', 'vectors']);
  const api = await startForLake();
  await exportInto(table, async (after) => framesAfter(api, after));
  expect(await readLake(table)).toMatchObject({ rows: [], files: [] });
});
