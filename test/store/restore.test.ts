import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { RevisionBatch } from '../../src/store/batch.ts';
import { Catalogue } from '../../src/store/catalogue.ts';
import { isSettled, lastTransaction, PAGE_BYTES } from '../../src/store/meta-page.ts';
import { restoreBackup, type RestoreSettings } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { follow } from '../model/following.ts';
import { answersOf, differences } from '../support/answers.ts';
import { batchOf, TestClock, type TestRow, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock();
const FRESH = { replace: false, erasedFrom: undefined, noNewerErasures: false };
const NO_NEWER = { ...FRESH, noNewerErasures: true };
const REPLACE = { ...FRESH, replace: true };

/** Everything that happens in a store until it is closed. */
async function within(directory: string, work: (store: Store) => Promise<void>): Promise<void> {
  const store = openStore(directory, clock.read);
  try {
    await work(store);
  } finally {
    await store.close();
  }
}

function opened(directory: string): Store {
  const store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  return store;
}

/** Of one of the states that LMDB's file begins with: it may not be on the disk. */
const UNFLUSHED = 0x1000;

async function restore(
  backup: string,
  directory: string,
  settings: RestoreSettings,
): ReturnType<typeof restoreBackup> {
  return restoreBackup(backup, directory, settings, clock.read, Math.random);
}

async function push(store: Store, ...rows: TestRow[]): Promise<number> {
  const { snapshot } = await store.commit('job', 'v1', { rows: batchOf(rows) });
  return snapshot;
}

const one = (id: string, event = 1): TestRow => ({ id, event, vector: [event, 1] });

/** The first number of the latest vector, or why there is none. */
function ask(store: Store, id: string): unknown {
  const version = store.version('job', 'v1');
  const resolution = resolveMany(version, [id], {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  });
  const vector = new Float32Array(2);
  gather(version.vectors, resolution, new Uint8Array(vector.buffer));
  const status = STATUSES[resolution.statuses[0]!];
  return status === 'PRESENT' ? vector[0] : (REASONS[resolution.reasons[0]!] ?? status);
}

/** A store with `a`, `b` and `c`, and a backup of it. */
async function backedUp(): Promise<{ directory: string; backup: string; snapshot: number }> {
  const directory = tempDirectory();
  const backup = tempDirectory();
  let snapshot = 0;
  await within(directory, async (store) => {
    store.createView(viewOf('job'));
    await push(store, one('a'), one('b'), one('c'));
    ({ snapshot } = await store.backup(backup));
  });
  return { directory, backup, snapshot };
}

test('what is restored answers as the store did, and goes on as a store of its own (A9)', async () => {
  const { directory, backup, snapshot } = await backedUp();
  const target = join(tempDirectory(), 'new/data');
  const restored = await restore(backup, target, NO_NEWER);
  expect(restored).toMatchObject({ snapshot, erasures: 0, aside: undefined });
  expect(readdirSync(target).toSorted()).toEqual([
    'catalogue',
    'tidemark.json',
    'views',
    'writer.lock',
  ]);
  expect((await verifyStore(target)).problems).toEqual([]);
  const [before, after] = [opened(directory), opened(target)];
  const asked = { ids: ['a', 'b', 'c', 'd'], moments: [0, 1, 2], snapshot };
  expect(differences(answersOf(before, asked), answersOf(after, asked))).toEqual([]);
  const { id } = before.catalogue.lineage();
  expect(after.catalogue.lineage()).toEqual({
    id: expect.not.stringMatching(id) as string,
    parents: [{ id, up_to: snapshot, from: after.snapshot }],
  });
  // Neither ever gives a seq that the other one gave.
  expect(await push(after, one('d'))).toBeGreaterThan((await push(before, one('d'))) + 2 ** 31);
});

test('a restored backup does not bring back what was erased after it was taken (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => {
    await store.erase({ entity: 'job' }, ['b']);
    await store.erase({ entity: 'job', view: 'job' }, ['c', 'nobody']);
  });
  const target = tempDirectory();
  expect(await restore(backup, target, { ...FRESH, erasedFrom: directory })).toMatchObject({
    erasures: 2,
  });
  // Before anything of it is gone from the files.
  expect((await verifyStore(target)).checked.revisions).toBe(3);
  const store = opened(target);
  expect(['a', 'b', 'c', 'nobody'].map((id) => ask(store, id))).toEqual([
    1,
    'ERASED',
    'ERASED',
    'ERASED',
  ]);
  await store.maintenance.run(undefined, async () => {});
  expect(store.version('job', 'v1').timelines.ids(undefined, 10)).toEqual(['a']);
  const receipts = store.catalogue.receipts();
  expect(new Set(receipts.map(({ entities }) => entities))).toEqual(new Set([1, 2]));
  expect(receipts).toHaveLength(2);
  expect(receipts.every(({ removed_at }) => removed_at !== undefined)).toBe(true);
  const { outcomes } = await store.commit('job', 'v1', { rows: batchOf([one('b', 2), one('e')]) });
  expect(outcomes).toEqual(['erased', 'latest']);
});

test('the receipts of later erasures say that their entities are there until they are gone again (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => {
    await store.erase({ entity: 'job' }, ['b']);
    await store.compact('job', 'v1');
    expect(store.catalogue.receipts()[0]!.compacted_at).toBeDefined();
  });
  const target = tempDirectory();
  await restore(backup, target, { ...FRESH, erasedFrom: directory });
  const store = opened(target);
  const [receipt] = store.catalogue.receipts();
  expect(receipt).not.toHaveProperty('compacted_at');
  await store.maintenance.run(undefined, async () => {});
  expect(store.catalogue.receipts()[0]).toHaveProperty('removed_at');
  await store.compact('job', 'v1');
  expect(store.catalogue.receipts()[0]).toHaveProperty('compacted_at');
});

test('an entity that was erased and may come again does not come back with a backup of before (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => {
    await store.erase({ entity: 'job' }, ['b', 'c']);
    await store.liftErasure({ entity: 'job' }, ['b']);
  });
  const target = tempDirectory();
  await restore(backup, target, { ...FRESH, erasedFrom: directory });
  expect((await verifyStore(target)).problems).toEqual([]);
  const store = opened(target);
  expect(['a', 'b', 'c'].map((id) => ask(store, id))).toEqual([1, 'NOT_FOUND', 'ERASED']);
  await push(store, one('b', 7));
  expect(ask(store, 'b')).toBe(7);
});

test('a later backup says as well what was erased, and an earlier one does not', async () => {
  const { directory, backup } = await backedUp();
  const later = tempDirectory();
  await within(directory, async (store) => {
    await store.erase({ entity: 'job' }, ['a']);
    await store.backup(later);
  });
  const target = tempDirectory();
  await restore(backup, target, { ...FRESH, erasedFrom: later });
  expect(ask(opened(target), 'a')).toBe('ERASED');
  await expect(
    restore(later, tempDirectory(), { ...FRESH, erasedFrom: backup }),
  ).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringContaining('before the backup') as string,
  });
});

test('a replica that is behind cannot say what was erased, and one that has come far enough can (A8)', async () => {
  const directory = tempDirectory();
  const behind = tempDirectory();
  const backup = tempDirectory();
  await within(directory, async (store) => {
    store.createView(viewOf('job'));
    await push(store, one('a'));
    await within(behind, async (replica) => follow(store, replica, 10));
    await push(store, one('b'));
    await store.backup(backup);
    await store.erase({ entity: 'job' }, ['b']);
  });
  const settings = { ...FRESH, erasedFrom: behind };
  await expect(restore(backup, tempDirectory(), settings)).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringContaining('it is of snapshot 2, before the backup') as string,
  });
  await expect(restore(backup, behind, REPLACE)).rejects.toMatchObject({ code: 'BACKUP_REFUSED' });
  await within(directory, async (store) => {
    await within(behind, async (replica) => follow(store, replica, 10));
  });
  const target = tempDirectory();
  await restore(backup, target, settings);
  expect(ask(opened(target), 'b')).toBe('ERASED');
});

test('an older copy of the directory cannot say what was erased, however many seqs it reserved (A8)', async () => {
  const directory = tempDirectory();
  const copy = tempDirectory();
  const backup = tempDirectory();
  await within(directory, async (store) => {
    store.createView(viewOf('job'));
    await push(store, one('a'));
    cpSync(directory, copy, { recursive: true });
    await push(store, one('b'));
    await store.backup(backup);
    await store.erase({ entity: 'job' }, ['b']);
  });
  await expect(
    restore(backup, tempDirectory(), { ...FRESH, erasedFrom: copy }),
  ).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringMatching(/snapshot 2, before the backup.*--no-newer-erasures/) as string,
  });
});

test('a directory knows that it has come as far as its backup, its last change or its last revision', async () => {
  const { directory, backup, snapshot } = await backedUp();
  // Nothing happened there since.
  await restore(backup, tempDirectory(), { ...FRESH, erasedFrom: directory });
  const forget = async (): Promise<void> => {
    const catalogue = new Catalogue(directory);
    catalogue.putBackedUp(0);
    await catalogue.close();
  };
  // As one whose backup was taken from a replica, or before that was noted.
  await forget();
  const settings = { ...FRESH, erasedFrom: directory };
  await expect(restore(backup, tempDirectory(), settings)).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringContaining(`it is of snapshot ${snapshot - 1}, before`) as string,
  });
  await within(directory, async (store) => void (await push(store, one('d'))));
  await restore(backup, tempDirectory(), settings);
  await within(directory, async (store) => store.changeView('job', { max_age: 1 }));
  writeFileSync(join(directory, 'views/job/v1/data.mdb'), 'not a database');
  await restore(backup, tempDirectory(), settings);
});

test('a directory whose machine crashed says what was erased as of its last flush (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => void (await store.erase({ entity: 'job' }, ['b'])));
  const path = join(directory, 'catalogue/data.mdb');
  const bytes = readFileSync(path);
  // A next commit came to the disk with what says where its pages are, and without those.
  const last = lastTransaction(path);
  const [from, to] = last % 2 === 0 ? [0, PAGE_BYTES] : [PAGE_BYTES, 0];
  bytes.copy(bytes, to + 24, from + 24, from + 160);
  bytes.writeUInt16LE(bytes.readUInt16LE(to + 52) | UNFLUSHED, to + 52);
  bytes.writeBigUInt64LE(1n, to + 136);
  bytes.writeBigUInt64LE(BigInt(last + 1), to + 152);
  writeFileSync(path, bytes);
  expect(isSettled(path)).toBe(false);
  const target = tempDirectory();
  await restore(backup, target, { ...FRESH, erasedFrom: directory });
  expect(ask(opened(target), 'b')).toBe('ERASED');
});

test('whoever does not say where later erasures are known is asked to', async () => {
  const { backup } = await backedUp();
  const target = tempDirectory();
  await expect(restore(backup, target, FRESH)).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringMatching(/--erased-from .*--no-newer-erasures/) as string,
  });
  await restore(backup, target, NO_NEWER);
});

test('another store, and one that went another way, cannot say what was erased', async () => {
  const { directory, backup } = await backedUp();
  const { directory: other } = await backedUp();
  const elsewhere = tempDirectory();
  await restore(backup, elsewhere, NO_NEWER);
  const late = tempDirectory();
  await within(directory, async (store) => {
    await push(store, one('d'));
    await store.backup(late);
  });
  const cases: [string, string, string][] = [
    [backup, other, 'its erasures have another key'],
    [late, elsewhere, 'it shares its past with the backup up to snapshot'],
    [backup, tempDirectory(), 'it has no catalogue'],
  ];
  for (const [from, erasedFrom, why] of cases) {
    await expect(restore(from, tempDirectory(), { ...FRESH, erasedFrom })).rejects.toMatchObject({
      code: 'BACKUP_REFUSED',
      message: expect.stringContaining(why) as string,
    });
  }
  // What was restored from the backup shares all of its past with it.
  await restore(backup, tempDirectory(), { ...FRESH, erasedFrom: elsewhere });
});

test('a store is replaced only when that is asked for; it is kept, and its erasures hold (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => {
    await store.erase({ entity: 'job' }, ['b']);
    await push(store, one('d'));
  });
  mkdirSync(join(directory, 'models/mini'), { recursive: true });
  await expect(restore(backup, directory, FRESH)).rejects.toMatchObject({
    code: 'BACKUP_REFUSED',
    message: expect.stringContaining('--replace') as string,
  });
  const { aside, erasures } = await restore(backup, directory, REPLACE);
  expect(erasures).toBe(1);
  expect((await verifyStore(aside!)).problems).toEqual([]);
  expect(existsSync(join(directory, 'models/mini'))).toBe(true);
  await within(directory, async (store) => {
    expect(['a', 'b', 'c', 'd'].map((id) => ask(store, id))).toEqual([1, 'ERASED', 1, 'NOT_FOUND']);
  });
  // Once more, from what is there now: the erasure of before is not forgotten on the way.
  expect(await restore(backup, directory, REPLACE)).toMatchObject({ erasures: 1 });
  expect(readdirSync(directory).filter((name) => name.startsWith('before-restore-'))).toHaveLength(
    2,
  );
  expect(ask(opened(directory), 'b')).toBe('ERASED');
});

test('what is replaced is kept whole, also where the backup has no views', async () => {
  const [empty, directory] = [tempDirectory(), tempDirectory()];
  const backup = tempDirectory();
  await within(empty, async (store) => void (await store.backup(backup)));
  await within(directory, async (store) => {
    store.createView(viewOf('job'));
    await push(store, one('a'));
  });
  const settings = { ...REPLACE, noNewerErasures: true };
  const { aside } = await restore(backup, directory, settings);
  expect(opened(directory).catalogue.views()).toEqual([]);
  expect(ask(opened(aside!), 'a')).toBe(1);
});

test('a damaged store is replaced as long as its catalogue can say what was erased (A8)', async () => {
  const { directory, backup } = await backedUp();
  await within(directory, async (store) => void (await store.erase({ entity: 'job' }, ['b'])));
  writeFileSync(join(directory, 'views/job/v1/data.mdb'), 'not a database');
  rmSync(join(directory, 'tidemark.json'));
  await restore(backup, directory, REPLACE);
  await within(directory, async (store) => {
    expect(['a', 'b'].map((id) => ask(store, id))).toEqual([1, 'ERASED']);
  });
  const catalogue = join(directory, 'catalogue/data.mdb');
  const bytes = readFileSync(catalogue);
  // Every page but those that LMDB looks at first.
  bytes.fill(0x55, 8_192);
  writeFileSync(catalogue, bytes);
  await expect(restore(backup, directory, REPLACE)).rejects.toMatchObject({
    code: 'STORE_CORRUPT',
    message: expect.stringContaining('cannot say what was erased') as string,
  });
  const kept = readdirSync(directory).find((name) => name.startsWith('before-restore-'))!;
  await restore(backup, directory, { ...REPLACE, erasedFrom: join(directory, kept) });
  expect(ask(opened(directory), 'b')).toBe('ERASED');
});

test('a directory with other things in it, or that somebody has open, is not restored into', async () => {
  const { directory, backup } = await backedUp();
  const photos = tempDirectory();
  mkdirSync(join(photos, 'photos'));
  await expect(restore(backup, photos, NO_NEWER)).rejects.toThrow('there is photos');
  opened(directory);
  await expect(restore(backup, directory, REPLACE)).rejects.toMatchObject({ code: 'STORE_LOCKED' });
  expect(readdirSync(directory)).not.toContain('restoring');
});

test('a source is read on from where it stood at the snapshot: nothing is lost, nothing doubled (A12)', async () => {
  const partition = { source: 'jobs', topic: 'changes', partition: 0 };
  const read = async (store: Store, offset: number) => {
    const rows = new RevisionBatch(8);
    rows.nextPayload().fill(offset);
    rows.addRow(`j${offset % 5}`, offset, offset, rows.addFilled(), offset);
    const expected = offset === 0 ? undefined : BigInt(offset);
    return store.commit('job', 'v1', {
      rows,
      offset: { ...partition, expected, next: BigInt(offset + 1) },
    });
  };
  const directory = tempDirectory();
  const backup = tempDirectory();
  await within(directory, async (store) => {
    store.createView(viewOf('job'));
    for (let offset = 0; offset < 20; offset++) await read(store, offset);
    await store.backup(backup);
    for (let offset = 20; offset < 30; offset++) await read(store, offset);
    await store.erase({ entity: 'job' }, ['j3']);
  });
  const target = tempDirectory();
  await restore(backup, target, { ...FRESH, erasedFrom: directory });
  const store = opened(target);
  const { offsets } = store.version('job', 'v1');
  expect(offsets.next(partition)).toBe(20n);
  // A zombie that has read further changes nothing; a replay stores no erased entity.
  expect(await read(store, 25)).toMatchObject({ fenced: true });
  const outcomes = [];
  for (let offset = 20; offset < 30; offset++)
    outcomes.push(...(await read(store, offset)).outcomes);
  expect(outcomes).toEqual(
    Array.from({ length: 10 }, (_, at) => ((20 + at) % 5 === 3 ? 'erased' : 'latest')),
  );
  await store.maintenance.run(undefined, async () => {});
  expect(store.version('job', 'v1').counters().revisions).toBe(24);
});

test('a backup is not restored into itself, into another one, or inside itself', async () => {
  const { backup } = await backedUp();
  const { backup: other } = await backedUp();
  const filesOf = () => readdirSync(backup, { recursive: true }).map(String);
  const files = filesOf();
  const link = join(tempDirectory(), 'link');
  symlinkSync(backup, link);
  for (const directory of [backup, link, join(backup, 'in/it'), other]) {
    const restored = restore(backup, directory, { ...REPLACE, noNewerErasures: true });
    await expect(restored).rejects.toMatchObject({ code: 'BACKUP_REFUSED' });
  }
  expect(filesOf()).toEqual(files);
  expect((await verifyStore(backup)).problems).toEqual([]);
});

test('a restore that is refused leaves nothing behind', async () => {
  const { backup } = await backedUp();
  const fresh = join(tempDirectory(), 'new');
  await expect(restore(backup, fresh, FRESH)).rejects.toMatchObject({ code: 'BACKUP_REFUSED' });
  expect(existsSync(fresh)).toBe(false);
  const mine = tempDirectory();
  writeFileSync(join(mine, 'photo.jpg'), 'a photo');
  await expect(restore(backup, mine, NO_NEWER)).rejects.toMatchObject({ code: 'BACKUP_REFUSED' });
  expect(readdirSync(mine)).toEqual(['photo.jpg']);
});

test('a directory that cannot be made is refused at once, by a restore as by a start', async () => {
  const { backup } = await backedUp();
  const refused = { code: 'STORE_UNAVAILABLE' };
  await expect(restore(backup, '/proc/nope', NO_NEWER)).rejects.toMatchObject(refused);
  expect(() => openStore('/proc/nope', clock.read)).toThrow(expect.objectContaining(refused));
});
