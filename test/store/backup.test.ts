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
import { readManifest } from '../../src/store/manifest.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { answersOf, differences } from '../support/answers.ts';
import { batchOf, TestClock, type TestRow, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const AS_IT_WAS = { replace: false, erasedFrom: undefined, noNewerErasures: true };
const MEMBERS = { source: 'members', topic: 'changes', partition: 0 };

function newStore(clock = new TestClock()): { store: Store; directory: string } {
  const directory = tempDirectory();
  const store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  store.createView(viewOf('job'));
  return { store, directory };
}

async function push(store: Store, ...rows: TestRow[]): Promise<number> {
  const { snapshot } = await store.commit('job', 'v1', { rows: batchOf(rows) });
  return snapshot;
}

/** Restores the backup into a new directory, and opens that. */
async function opened(backup: string, clock = new TestClock()): Promise<Store> {
  const directory = tempDirectory();
  await restoreBackup(backup, directory, AS_IT_WAS, clock.read, Math.random);
  const store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  return store;
}

/** The record at an offset of a source; some cannot be read. */
async function readNext(store: Store, offset: number): Promise<void> {
  const rows = new RevisionBatch(8);
  const isBad = offset % 7 === 0;
  if (!isBad) {
    rows.nextPayload().fill(offset % 31);
    const payload = rows.addFilled(new Uint8Array(16).fill(offset % 31));
    rows.addRow(`m${offset % 40}`, offset, offset, payload, offset);
  }
  const letter = {
    position: { ...MEMBERS, offset },
    reason: 'BAD_RECORD',
    message: 'no',
    key: null,
    value: Buffer.from(`record ${offset}`),
    headers: {},
    timestamp: offset,
  };
  await store.commit('member', 'v1', {
    rows,
    offset: {
      ...MEMBERS,
      expected: offset === 0 ? undefined : BigInt(offset),
      next: BigInt(offset + 1),
    },
    deadLetters: isBad ? [letter] : [],
  });
}

test('a backup taken while everything is being written is the store at its snapshot, to the last answer (A9)', async () => {
  const clock = new TestClock(1_000);
  const { store } = newStore(clock);
  store.createView(viewOf('member'));
  const random = seeded(3);
  const state = { done: false, offset: 0, views: 0 };
  const writeOne = async (): Promise<void> => {
    clock.now++;
    const rows = Array.from({ length: 30 }, () => ({
      id: `j${random(60)}`,
      event: random(5_000),
      vector: random(9) === 0 ? null : [random(100), random(100)],
    }));
    await push(store, ...rows);
    await readNext(store, state.offset++);
  };
  for (let turn = 0; turn < 150; turn++) await writeOne();
  const writers = (async () => {
    while (!state.done) {
      await writeOne();
      if (state.offset % 40 === 0) {
        store.createView(viewOf(`extra${state.views++}`));
        store.changeView('job', { max_age: state.offset * 1_000 });
      }
    }
  })();
  const backup = join(tempDirectory(), 'new/one');
  const before = state.offset;
  const manifest = await store.backup(backup);
  const written = state.offset - before;
  state.done = true;
  await writers;
  expect(written).toBeGreaterThan(5);

  const { snapshot } = manifest;
  const ids = [...Array.from({ length: 61 }, (_, at) => `j${at}`), 'm0', 'm17', 'm39'];
  const asked = { ids, moments: [0, 1_200, 2_500, 4_999], snapshot };
  const restored = await opened(backup, clock);
  const live = answersOf(store, asked);
  const kept = answersOf(restored, asked);
  // Settings, and views, are those of the snapshot; the live store's are those of now.
  for (const name of live.keys()) if (!kept.has(name) || name === 'the view job') live.delete(name);
  kept.delete('the view job');
  expect(differences(live, kept)).toEqual([]);
  expect(kept.size).toBeGreaterThan(1_000);
  expect(readManifest(backup).versions.map(({ feature_view }) => feature_view)).toEqual(
    restored.catalogue.views().map(({ name }) => name),
  );

  // The offset is that of the last record that is in, read or dead.
  const member = restored.version('member', 'v1');
  const offsets = [
    ...member.log.read(0, snapshot, 10_000).map(({ position }) => position!.offset),
    ...member.deadLetters.list(10_000).map(({ position }) => position.offset),
  ].toSorted((a, b) => a - b);
  expect(offsets).toEqual(Array.from({ length: offsets.length }, (_, at) => at));
  expect(member.offsets.all()).toEqual([{ key: MEMBERS, next: BigInt(offsets.length) }]);
  // From there the source is read again: nothing is lost and nothing is doubled.
  for (let offset = offsets.length; offset < state.offset; offset++)
    await readNext(restored, offset);
  const all = { ids: ['m0', 'm17', 'm39'], moments: [10, 100], snapshot: Number.MAX_SAFE_INTEGER };
  const timelines = (from: Store) =>
    all.ids.map((id) => from.version('member', 'v1').timelines.ids(undefined, 100).includes(id));
  expect(timelines(restored)).toEqual(timelines(store));
  expect(restored.version('member', 'v1').counters().revisions).toBe(
    store.version('member', 'v1').counters().revisions,
  );
  expect(restored.version('member', 'v1').deadLetters.count()).toBe(
    store.version('member', 'v1').deadLetters.count(),
  );
});

test('a backup is whole, says what is in it, and is no data directory to write to', async () => {
  const { store } = newStore();
  await push(store, { id: 'a', event: 1, vector: [1, 0] }, { id: 'a', event: 2, vector: null });
  const backup = tempDirectory();
  const manifest = await store.backup(backup);
  expect(manifest).toMatchObject({
    format_version: 3,
    snapshot: store.snapshot,
    lineage: store.catalogue.lineage(),
    versions: [{ feature_view: 'job', version: 'v1', entities: 1, revisions: 2, vectors: 1 }],
  });
  expect(readdirSync(backup).toSorted()).toEqual([
    'backup.json',
    'catalogue',
    'tidemark.json',
    'views',
  ]);
  expect(await verifyStore(backup)).toMatchObject({ problems: [], counters: true });
  expect(() => openStore(backup, new TestClock().read)).toThrow('is a backup, and stays as it is');
  // Looking at it has changed nothing in it.
  expect((await verifyStore(backup)).problems).toEqual([]);
});

test('what was erased before a backup is not in its files, and what is erased later is (A8)', async () => {
  const { store } = newStore();
  await push(
    store,
    { id: 'gone', event: 1, vector: [123.5, 0] },
    { id: 'later', event: 1, vector: [77.25, 0] },
  );
  await store.erase({ entity: 'job' }, ['gone']);
  const backup = tempDirectory();
  await store.backup(backup);
  await store.erase({ entity: 'job' }, ['later']);
  const file = readFileSync(join(backup, 'views/job/v1/data.mdb'));
  expect(file.includes(bytesOf(123.5))).toBe(false);
  expect(file.includes('gone')).toBe(false);
  expect(file.includes(bytesOf(77.25))).toBe(true);
  const restored = await opened(backup);
  expect(restored.catalogue.receipts()).toHaveLength(1);
  expect(restored.version('job', 'v1').erasures.has('gone')).toBe(true);
  expect(restored.version('job', 'v1').erasures.has('later')).toBe(false);
});

test('an entity erased while the backup is under way is in it as it was, whole', async () => {
  const { store } = newStore();
  for (let entity = 0; entity < 300; entity++) {
    await push(
      store,
      ...[1, 2, 3].map((event) => ({ id: `e${entity}`, event, vector: [entity, event] })),
    );
  }
  const backup = tempDirectory();
  const erased: Promise<unknown>[] = [];
  const manifest = await store.backup(backup, {
    onProgress: () => {
      if (erased.length === 0) erased.push(store.erase({ entity: 'job' }, ['e7', 'e299']));
    },
  });
  await Promise.all(erased);
  expect(erased).toHaveLength(1);
  expect(manifest.versions).toMatchObject([{ entities: 300, revisions: 900 }]);
  expect(store.version('job', 'v1').erasures.has('e7')).toBe(true);
  expect((await verifyStore(backup)).problems).toEqual([]);
});

test('a view that is dropped while the backup is under way is in it, and gone from the store (A9)', async () => {
  const { store, directory } = newStore();
  store.createView(viewOf('member'));
  for (let at = 0; at < 200; at++) {
    await push(store, { id: `e${at}`, event: at, vector: [at, 1] });
    await readNext(store, at);
  }
  const backup = tempDirectory();
  const drops: Promise<void>[] = [];
  const manifest = await store.backup(backup, {
    onProgress: () => void (drops.length === 0 && drops.push(store.dropView('member'))),
  });
  expect(store.catalogue.view('member')).toBeUndefined();
  await Promise.all(drops);
  expect(existsSync(join(directory, 'views/member'))).toBe(false);
  expect(manifest.versions.map(({ feature_view, revisions }) => [feature_view, revisions])).toEqual(
    [
      ['job', 200],
      ['member', 171],
    ],
  );
  const restored = await opened(backup);
  expect(restored.version('member', 'v1').counters().revisions).toBe(171);
});

test('what lies before the horizon stays out of a backup, and out of reach in what is restored (A10)', async () => {
  const clock = new TestClock(1_000);
  const { store } = newStore(clock);
  for (let event = 1; event <= 100; event++)
    await push(store, { id: 'a', event, vector: [event, 0] });
  clock.now = 2_000;
  await store.advanceHorizon('job', 1_500);
  const backup = tempDirectory();
  const manifest = await store.backup(backup);
  expect(manifest.versions).toMatchObject([{ revisions: 1, vectors: 1 }]);
  const asked = { ids: ['a'], moments: [50, 1_499, 1_500], snapshot: manifest.snapshot };
  const [live, restored] = [store, await opened(backup, clock)].map((each) =>
    answersOf(each, asked),
  );
  // The feed and the timelines tell no more than is there, which is less where retention has passed.
  for (const each of [live!, restored!]) each.delete('the feed');
  expect(differences(live!, restored!)).toEqual([]);
  expect(
    [...restored!.values()].filter((answer) => answer.includes('BEFORE_RETENTION')),
  ).not.toEqual([]);
});

test('a directory that cannot take a backup is refused with what is wrong, and left as it was', async () => {
  const { store, directory } = newStore();
  const scratch = tempDirectory();
  const full = join(scratch, 'full');
  const broken = join(scratch, 'broken');
  mkdirSync(full);
  mkdirSync(join(broken, 'catalogue'), { recursive: true });
  writeFileSync(join(full, 'photo'), 'x');
  writeFileSync(join(scratch, 'file'), 'x');
  symlinkSync(directory, join(scratch, 'link'));
  for (const [target, why] of [
    [directory, 'it is in the data directory'],
    [join(directory, 'backups/one'), 'it is in the data directory'],
    [join(scratch, 'link/one'), 'it is in the data directory'],
    [full, 'it is not empty'],
    [broken, 'a backup that was broken off'],
    [join(scratch, 'file'), 'ENOTDIR'],
    [join(scratch, 'file/one'), 'ENOTDIR'],
  ] as const) {
    await expect(store.backup(target), target).rejects.toMatchObject({
      code: 'BACKUP_REFUSED',
      message: expect.stringContaining(why) as string,
    });
  }
  expect(readdirSync(full)).toEqual(['photo']);
  expect(existsSync(join(directory, 'backups'))).toBe(false);
  await store.backup(join(scratch, 'full/../fine'));
});

test('damage in the store is found when it is copied; the backup is none, and the store goes on', async () => {
  const clock = new TestClock();
  const directory = tempDirectory();
  let store = openStore(directory, clock.read);
  store.createView(viewOf('job'));
  await push(
    store,
    { id: 'a', event: 1, vector: [3.25, 1.5] },
    { id: 'b', event: 1, vector: [1, 2] },
  );
  await store.close();
  const file = join(directory, 'views/job/v1/data.mdb');
  const bytes = readFileSync(file);
  const vector = Buffer.from(new Float32Array([3.25, 1.5]).buffer);
  for (let at = bytes.indexOf(vector); at >= 0; at = bytes.indexOf(vector, at + 1)) bytes[at]! ^= 1;
  writeFileSync(file, bytes);
  store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  const target = join(tempDirectory(), 'new');
  await expect(store.backup(target)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  expect(existsSync(target)).toBe(false);
  await push(store, { id: 'c', event: 1, vector: [5, 5] });
});

test('a store that closes gives a backup up, and nothing is left of it', async () => {
  const { store } = newStore();
  for (let at = 0; at < 50; at++) await push(store, { id: `e${at}`, event: at, vector: [at, 1] });
  const target = tempDirectory();
  const backup = store.backup(target);
  const closed = store.close();
  await expect(backup).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  await closed;
  expect(readdirSync(target)).toEqual([]);
});

test('two backups asked for at once are taken one after the other', async () => {
  const { store } = newStore();
  await push(store, { id: 'a', event: 1, vector: [1, 1] });
  const targets = [tempDirectory(), tempDirectory()];
  const [first, second] = await Promise.all(targets.map(async (target) => store.backup(target)));
  expect(second!.snapshot).toBeGreaterThan(first!.snapshot);
  for (const target of targets) expect((await verifyStore(target)).problems).toEqual([]);
});

test('a backup that lost or changed a byte is found out, and told with the file', async () => {
  const { store } = newStore();
  await push(store, { id: 'a', event: 1, vector: [1, 1] });
  const clean = tempDirectory();
  await store.backup(clean);
  const file = 'views/job/v1/data.mdb';
  const damages: [string, (backup: string) => void][] = [
    [`${file} does not have the SHA-256`, (backup) => flip(join(backup, file), 5_000)],
    [`${file} has 0 bytes`, (backup) => writeFileSync(join(backup, file), '')],
    [`${file} is missing`, (backup) => rmSync(join(backup, file))],
    ['it has no backup.json', (backup) => rmSync(join(backup, 'backup.json'))],
    [
      'its backup.json is not as it was written',
      (backup) => {
        const path = join(backup, 'backup.json');
        writeFileSync(
          path,
          readFileSync(path, 'utf8').replace(/"snapshot": (\d+)/, '"snapshot": 1$1'),
        );
      },
    ],
    ['its backup.json cannot be read', (backup) => writeFileSync(join(backup, 'backup.json'), '{')],
  ];
  for (const [message, damage] of damages) {
    const backup = tempDirectory();
    cpSync(clean, backup, { recursive: true });
    damage(backup);
    const target = tempDirectory();
    const restoring = restoreBackup(backup, target, AS_IT_WAS, new TestClock().read, Math.random);
    await expect(restoring, message).rejects.toMatchObject({
      code: 'BACKUP_INVALID',
      message: expect.stringContaining(message) as string,
    });
    expect(readdirSync(target).filter((name) => name !== 'writer.lock')).toEqual([]);
    if (existsSync(join(backup, 'backup.json'))) {
      expect((await verifyStore(backup)).problems, message).not.toEqual([]);
    }
  }
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

/** The vector of that first number, as it is stored. */
function bytesOf(value: number): Buffer {
  return Buffer.from(new Float32Array([value, 0]).buffer);
}
