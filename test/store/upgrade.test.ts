import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import { type Micros, micros } from '../../src/ground/time.ts';
import { Environment } from '../../src/store/environment.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { answersOf, differences } from '../support/answers.ts';
import { batchOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures');
/** When its first record happened, and how far apart they are, µs. */
const FIRST = 1_767_000_000_000_000;
const SECOND = 1_000_000;
const now = (): Micros => micros(1_800_000_000_000_000);
const IDS = ['job', 'member'].flatMap((view) => [0, 1, 2, 3].map((at) => `${view}-${at}`));
const ASKED = {
  ids: IDS,
  moments: [0, 18, 19, 120, 239].map((record) => FIRST + record * SECOND),
  snapshot: 481,
};

/** A data directory as format 1 had it: two views, each with 240 records of a source. */
function formatOne(): string {
  const directory = tempDirectory();
  execFileSync('tar', ['xzf', join(FIXTURES, 'data-format-1.tar.gz'), '-C', directory]);
  return directory;
}

/** The same as format 2 had it, after a compaction, and a backup of it. */
function formatTwo(): { data: string; backup: string } {
  const directory = tempDirectory();
  execFileSync('tar', ['xzf', join(FIXTURES, 'data-format-2.tar.gz'), '-C', directory]);
  return { data: join(directory, 'data'), backup: join(directory, 'backup') };
}

function opened(directory: string): Store {
  const store = openStore(directory, now);
  onTestFinished(async () => store.close());
  return store;
}

/** The vector as of that record, or why there is none. */
function ask(store: Store, id: string, record: number): unknown {
  const [view] = id.split('-') as [string];
  const version = store.version(view, 'v1');
  const resolution = resolveMany(version, [id], {
    asOf: FIRST + record * SECOND,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  });
  const bytes = new Uint8Array(version.vectors.vectorBytes);
  gather(version.vectors, resolution, bytes);
  const status = STATUSES[resolution.statuses[0]!];
  if (status !== 'PRESENT') return REASONS[resolution.reasons[0]!] ?? status;
  return Array.from(
    view === 'job' ? new Float32Array(bytes.buffer) : new Float16Array(bytes.buffer),
  );
}

test('a store of format 1 answers as it did, and says today’s format from then on', () => {
  const directory = formatOne();
  const store = opened(directory);
  expect(JSON.parse(readFileSync(join(directory, 'tidemark.json'), 'utf8'))).toEqual({
    format_version: 3,
  });
  for (const view of ['job', 'member']) {
    // Record n is of the entity n mod 4, and every twentieth deletes it.
    expect(ask(store, `${view}-0`, -1)).toBe('NOT_FOUND');
    expect(ask(store, `${view}-0`, 0)).toEqual([0, 0, 0.5, -1]);
    expect(ask(store, `${view}-0`, 3)).toEqual([0, 0, 0.5, -1]);
    expect(ask(store, `${view}-2`, 130)).toEqual([6, 10, 0.5, -1]);
    expect(ask(store, `${view}-3`, 18)).toEqual([0, 15, 0.5, -1]);
    expect(ask(store, `${view}-3`, 19)).toBe('DELETED');
    expect(ask(store, `${view}-3`, 23)).toEqual([1, 3, 0.5, -1]);
    expect(ask(store, `${view}-3`, 239)).toBe('DELETED');
  }
  expect(store.version('job', 'v1').counters()).toMatchObject({ revisions: 241, entities: 4 });
  expect(store.version('member', 'v1').counters()).toMatchObject({ revisions: 240, entities: 4 });
});

test('what is older than the events is told first by the feed, with the views that it is of', () => {
  const { items, upTo } = opened(formatOne()).changes({ after: 0, upTo: 1_000_000, limit: 1_000 });
  const told = items.flatMap((item) =>
    'event' in item
      ? [[item.event.seq, item.event.type, 'view' in item.event && item.event.view]]
      : item.changes.map(({ seq, entityId }) => [seq, entityId]),
  );
  expect(told.slice(0, 4)).toEqual([
    [0, 'view', expect.objectContaining({ name: 'job', entity: 'job' })],
    [0, 'view', expect.objectContaining({ name: 'member', entity: 'member' })],
    [1, 'job-0'],
    [2, 'job-1'],
  ]);
  expect(told).toHaveLength(2 + 481);
  expect(upTo).toBeGreaterThanOrEqual(481);
});

test('the first views are told however few changes a page may have', () => {
  const store = opened(formatOne());
  const seqs: number[] = [];
  for (let after = 0; after < 10;) {
    const { items, upTo } = store.changes({ after, upTo: 10, limit: 1 });
    for (const item of items) {
      seqs.push(...('event' in item ? [item.event.seq] : item.changes.map(({ seq }) => seq)));
    }
    expect(upTo).toBeGreaterThan(after);
    after = upTo;
  }
  expect(seqs).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('an upgraded store is written, compacted, erased from, verified and backed up like any other', async () => {
  const directory = formatOne();
  const store = opened(directory);
  const before = answersOf(store, ASKED);
  const rows = batchOf([{ id: 'job-9', event: FIRST, vector: [1, 2, 3, 4] }], 4);
  const { outcomes, snapshot } = await store.commit('job', 'v1', { rows });
  expect([outcomes, snapshot > 481]).toEqual([['latest'], true]);
  await store.compact('job', 'v1');
  expect(differences(before, answersOf(store, ASKED))).toEqual([]);
  const inputs = store.version('job', 'v1').inputs.page(undefined, 1_000);
  expect(inputs.filter(({ vectorId }) => vectorId !== undefined)).toHaveLength(48);
  const backup = tempDirectory();
  await store.backup(backup);
  await store.erase({ entity: 'member' }, ['member-2']);
  expect(ask(store, 'member-2', 239)).toBe('ERASED');
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
  const restored = tempDirectory();
  const settings = { replace: false, erasedFrom: directory, noNewerErasures: false };
  await restoreBackup(backup, restored, settings, now, Math.random);
  const again = opened(restored);
  expect(ask(again, 'member-2', 239)).toBe('ERASED');
  expect(ask(again, 'job-9', 0)).toEqual([1, 2, 3, 4]);
  expect(
    again
      .version('member', 'v1')
      .offsets.all()
      .map(({ next }) => next),
  ).toEqual([240n]);
});

test('an upgrade that breaks off anywhere is done at the next start', async () => {
  const expected = answersOf(opened(formatOne()), ASKED);
  const clean = formatOne();
  for (let at = 1; ; at++) {
    const directory = tempDirectory();
    cpSync(clean, directory, { recursive: true });
    let commits = 0;
    const commitSync: Environment['commitSync'] = Reflect.get(Environment.prototype, 'commitSync');
    const spy = vi.spyOn(Environment.prototype, 'commitSync').mockImplementation(function broken<T>(
      this: Environment,
      work: () => T,
    ): T {
      if (++commits === at) throw new Error('the power is gone');
      return commitSync.call(this, work) as T;
    });
    let isBroken = true;
    try {
      await openStore(directory, now).close();
      isBroken = false;
    } catch (error) {
      expect(String(error)).toContain('the power is gone');
    } finally {
      spy.mockRestore();
    }
    const store = openStore(directory, now);
    expect(differences(expected, answersOf(store, ASKED))).toEqual([]);
    await store.close();
    expect((await verifyStore(directory)).problems).toEqual([]);
    if (!isBroken) {
      expect(at).toBeGreaterThan(7);
      return;
    }
  }
});

test('a store of format 2 answers as it did, and so does what is restored of its backup', async () => {
  const expected = answersOf(opened(formatOne()), ASKED);
  const { data, backup } = formatTwo();
  const restored = tempDirectory();
  const settings = { replace: false, erasedFrom: undefined, noNewerErasures: true };
  await restoreBackup(backup, restored, settings, now, Math.random);
  for (const directory of [data, restored]) {
    const store = openStore(directory, now);
    expect(differences(expected, answersOf(store, ASKED))).toEqual([]);
    await store.close();
    expect(readFileSync(join(directory, 'tidemark.json'), 'utf8')).toContain('3');
    expect((await verifyStore(directory)).problems).toEqual([]);
  }
});

test('verify says what to do about a directory of format 1, and changes nothing in it', async () => {
  const directory = formatOne();
  await expect(verifyStore(directory)).rejects.toMatchObject({
    code: 'STORE_FORMAT',
    message: expect.stringContaining('start the server on it once') as string,
  });
  expect(readFileSync(join(directory, 'tidemark.json'), 'utf8')).toContain('1');
});
