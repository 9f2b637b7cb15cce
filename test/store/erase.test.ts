import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { type DeadLetter, RevisionBatch } from '../../src/store/batch.ts';
import type { Erasure } from '../../src/store/catalogue.ts';
import { vectorBytes, writeNumbers } from '../../src/store/dtype.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const DIM = 16;
const JOBS = { entity: 'job' };
/** Who is erased, and who is not: found in the files before, and only the second one after. */
const GONE = 'gone-4c1d7e';
const KEPT = 'kept-9b2f3a';

/** A vector that no other has, by its bytes. */
function vectorOf(id: string, event: number): number[] {
  const seed = Buffer.from(id).readUInt32BE(id.length - 4);
  return Array.from({ length: DIM }, (_, at) => ((seed % 99_991) + event * 31 + at) / 7);
}

/** The hash of the input of that vector, as an embedder would give it. */
function hashOf(id: string, event: number): Uint8Array {
  return Buffer.from(`${event}~${id}~~~~~~~~~~~~`.slice(0, 16));
}

interface Row {
  id: string;
  event: number;
  vector?: number[] | null;
  hash?: Uint8Array;
  offset?: number;
}

function batchOf(rows: readonly Row[]): RevisionBatch {
  const batch = new RevisionBatch(vectorBytes(DIM, 'float32'), rows.length);
  for (const { id, event, vector = vectorOf(id, event), hash, offset } of rows) {
    let payload = -1;
    if (vector !== null) {
      writeNumbers(vector, DIM, 'float32', batch.nextPayload());
      payload = batch.addFilled(hash);
    }
    batch.addRow(id, event, event, payload, offset);
  }
  return batch;
}

/** A letter of that offset, whose key and value are these texts. */
function letterOf(offset: number, key: string | null, value: string): DeadLetter {
  return {
    position: { source: 's', topic: 't', partition: 0, offset },
    reason: 'BAD_VECTOR',
    message: 'no vector',
    key: key === null ? null : Buffer.from(key),
    value: Buffer.from(value),
    headers: {},
    timestamp: 0,
  };
}

function open(directory: string, clock = new TestClock()): Store {
  const store = openStore(directory, clock.read);
  onTestFinished(async () => store.close());
  return store;
}

/** A store that holds both entities in every table; a hundred more, so that there are full pages. */
async function filled(): Promise<{ store: Store; directory: string }> {
  const directory = tempDirectory();
  const store = open(directory);
  store.createView({ ...viewOf('job', DIM), entity: 'job' });
  for (const [at, id] of [GONE, KEPT].entries()) {
    const rows = Array.from({ length: 60 }, (_, event) => ({
      id,
      event,
      hash: hashOf(id, event),
      offset: at * 100 + event,
    }));
    await store.commit('job', 'v1', {
      rows: batchOf(rows),
      offset: {
        source: 's',
        topic: 't',
        partition: at,
        expected: undefined,
        next: BigInt(at * 100 + 60),
      },
      deadLetters: [
        letterOf(1_000 + at, id, '{}'),
        letterOf(2_000 + at, null, `{"member": "x", "job": ["${id}"]}`),
      ],
    });
  }
  const others = Array.from({ length: 100 }, (_, at) => ({ id: `other-${1_000 + at}`, event: 1 }));
  await store.commit('job', 'v1', { rows: batchOf(others) });
  return { store, directory };
}

function bytesOf(id: string): Buffer {
  return Buffer.from(id);
}

/** All that would tell of the entity in a file: its id, its vectors, the hashes of its inputs. */
function patternsOf(id: string): Buffer[] {
  const events = Array.from({ length: 60 }, (_, event) => event);
  return [
    bytesOf(id),
    ...events.map((event) => Buffer.from(new Float32Array(vectorOf(id, event)).buffer)),
    ...events.map((event) => Buffer.from(hashOf(id, event))),
  ];
}

/** How many of the patterns stand in any file below the directory, whatever the file is. */
function foundIn(directory: string, patterns: readonly Buffer[]): number {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => readFileSync(join(parentPath, name)));
  expect(files.length).toBeGreaterThanOrEqual(4);
  return patterns.filter((pattern) => files.some((file) => file.includes(pattern))).length;
}

const ALL = patternsOf(GONE).length;

async function settle(store: Store): Promise<void> {
  await store.maintenance.run(undefined, async () => {});
}

/** The vector's first number, or the reason that there is none. */
function ask(store: Store, id: string, view = 'job', name = 'v1', snapshot = store.snapshot) {
  const version = store.version(view, name);
  const resolution = resolveMany(version, [id], {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot,
  });
  const vector = new Float32Array(DIM);
  gather(version.vectors, resolution, new Uint8Array(vector.buffer));
  return STATUSES[resolution.statuses[0]!] === 'PRESENT'
    ? vector[0]
    : (REASONS[resolution.reasons[0]!] ?? STATUSES[resolution.statuses[0]!]);
}

test('after an erasure and compaction no file holds a byte of the entity, also after a restart (A8)', async () => {
  const { store, directory } = await filled();
  expect(foundIn(directory, patternsOf(GONE))).toBe(ALL);
  const receipt = await store.erase(JOBS, [GONE]);
  expect(receipt.removed).toEqual({ entities: 1, revisions: 60, inputs: 60, dead_letters: 2 });
  expect(store.compactedAt(receipt)).toBeUndefined();
  expect(foundIn(directory, patternsOf(GONE))).toBeGreaterThan(0);
  await store.compact('job', 'v1');
  expect(store.compactedAt(receipt)).toBe(1_000);
  expect(foundIn(directory, patternsOf(GONE))).toBe(0);
  expect(foundIn(directory, patternsOf(KEPT))).toBe(ALL);
  await store.close();
  expect(foundIn(directory, patternsOf(GONE))).toBe(0);
  await open(directory).close();
  expect(foundIn(directory, patternsOf(GONE))).toBe(0);
  expect(foundIn(directory, patternsOf(KEPT))).toBe(ALL);
  expect((await verifyStore(directory)).problems).toEqual([]);
});

async function eraseFailing(store: Store, commits: number): Promise<Erasure> {
  const { environment } = store.version('job', 'v1');
  const commit = environment.commit.bind(environment);
  let left = commits;
  vi.spyOn(environment, 'commit').mockImplementation(async (work) => {
    if (left-- <= 0) throw new Error('the disk is full');
    return commit(work);
  });
  return store.erase(JOBS, [GONE]);
}

async function requireGone(directory: string, { id }: Erasure): Promise<void> {
  const store = open(directory);
  await settle(store);
  const receipt = store.catalogue.mustGetReceipt(id);
  expect(receipt.removed_at).toBeDefined();
  await store.compact('job', 'v1');
  expect(store.compactedAt(receipt)).toBeDefined();
  await store.close();
  expect(foundIn(directory, patternsOf(GONE))).toBe(0);
  expect(foundIn(directory, patternsOf(KEPT))).toBe(ALL);
  expect((await verifyStore(directory)).problems).toEqual([]);
}

describe('an erasure whose removal was interrupted', () => {
  test('before it began is finished by the next start (A8)', async () => {
    const { store, directory } = await filled();
    const gate = Promise.withResolvers<void>();
    const busy = store.maintenance.run(undefined, async () => gate.promise);
    const receipt = await store.erase(JOBS, [GONE]);
    expect(receipt.removed_at).toBeUndefined();
    const closed = store.close();
    gate.resolve();
    await Promise.all([busy, closed]);
    expect(foundIn(directory, patternsOf(GONE))).toBe(ALL);
    await requireGone(directory, receipt);
  });

  test('after any of its commits is finished by the next start (A8)', async () => {
    for (let commits = 0; ; commits++) {
      const { store, directory } = await filled();
      const receipt = await eraseFailing(store, commits);
      await store.close();
      if (receipt.removed_at !== undefined) {
        expect(commits).toBeGreaterThan(2);
        return;
      }
      await requireGone(directory, receipt);
    }
  });
});

test('an erasure that comes during a compaction is not compacted by it (A8)', async () => {
  const { store, directory } = await filled();
  const compaction = store.compact('job', 'v1');
  const first = await store.erase(JOBS, [GONE]);
  await compaction;
  await settle(store);
  const receipt = store.catalogue.mustGetReceipt(first.id);
  expect(receipt.removed_at).toBeDefined();
  if (foundIn(directory, patternsOf(GONE)) > 0) {
    expect(store.compactedAt(receipt)).toBeUndefined();
  }
  await store.compact('job', 'v1');
  expect(store.compactedAt(receipt)).toBeDefined();
  expect(foundIn(directory, patternsOf(GONE))).toBe(0);
  expect(foundIn(directory, patternsOf(KEPT))).toBe(ALL);
});

test('a dead letter of an entity without a timeline goes also where only its value names it, and the removal was interrupted (A8)', async () => {
  const { store, directory } = await filled();
  const letters = [
    letterOf(1, null, '{"job": "never-seen-1", "note": "about never-seen-2"}'),
    letterOf(2, null, 'no JSON: never-seen-2'),
    letterOf(3, null, '{"job": "n\\u00e9ver", "vector": [0.7, 1.5]}'),
    letterOf(4, null, `{"job": "${KEPT}", "vector": [0.7, 1.5]}`),
  ];
  await store.commit('job', 'v1', { rows: batchOf([]), deadLetters: letters });
  const gate = Promise.withResolvers<void>();
  const busy = store.maintenance.run(undefined, async () => gate.promise);
  await store.erase(JOBS, ['never-seen-2', 'néver', '7', '5']);
  const closed = store.close();
  gate.resolve();
  await Promise.all([busy, closed]);
  const again = open(directory);
  await settle(again);
  const left = again.version('job', 'v1').deadLetters.list(100);
  const offsets = left.map(({ position }) => position.offset);
  expect(offsets.filter((offset) => offset < 1_000)).toEqual([4]);
  await again.compact('job', 'v1');
  await again.close();
  const gone = ['never-seen-1', 'never-seen-2', 'n\\u00e9ver'].map(bytesOf);
  expect(foundIn(directory, gone)).toBe(0);
});

test('an erasure that comes while a compaction removes another one’s entities is not compacted by it (A8)', async () => {
  // Every turn of the event loop at which it can come.
  for (let turns = 0; turns < 8; turns++) {
    const { store, directory } = await filled();
    const gate = Promise.withResolvers<void>();
    const busy = store.maintenance.run(undefined, async () => gate.promise);
    const compaction = store.compact('job', 'v1');
    await store.erase(JOBS, ['other-1000']);
    gate.resolve();
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    const { id } = await store.erase(JOBS, [GONE]);
    await Promise.all([busy, compaction]);
    await settle(store);
    const receipt = store.catalogue.mustGetReceipt(id);
    expect(receipt.removed_at).toBeDefined();
    if (receipt.compacted_at !== undefined) expect(foundIn(directory, patternsOf(GONE))).toBe(0);
    await store.close();
  }
});

test('another entity with an equal input keeps its vector, and the input is forgotten (A8)', async () => {
  const { store, directory } = await filled();
  const shared = { vector: vectorOf('both-1', 1), hash: hashOf('both-1', 1) };
  await store.commit('job', 'v1', {
    rows: batchOf([
      { id: GONE, event: 100, ...shared },
      { id: KEPT, event: 100, ...shared },
    ]),
  });
  const { nextVectorId } = store.version('job', 'v1').counters();
  await store.erase(JOBS, [GONE]);
  await store.compact('job', 'v1');
  expect(ask(store, KEPT)).toBe(Math.fround(shared.vector[0]!));
  expect(store.version('job', 'v1').copyPooled(shared.hash, new Uint8Array(64))).toBe(false);
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'late-1', event: 1, ...shared }]) });
  expect(store.version('job', 'v1').counters().nextVectorId).toBe(nextVectorId + 1);
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

function late(): RevisionBatch {
  return batchOf([{ id: GONE, event: 200 }]);
}

describe('an erased entity', () => {
  test('does not come back by a push, a delete, a replay or a dead letter, until that is lifted (A8)', async () => {
    const { store, directory } = await filled();
    await store.erase(JOBS, [GONE]);
    await store.compact('job', 'v1');
    const rows = batchOf([
      { id: GONE, event: 1 },
      { id: GONE, event: 300, vector: null },
      { id: KEPT, event: 300 },
    ]);
    const { outcomes } = await store.commit('job', 'v1', { rows });
    expect(outcomes).toEqual(['erased', 'erased', 'latest']);
    await expect(store.commit('job', 'v1', { rows: late(), isAtomic: true })).rejects.toThrow(
      'was erased',
    );
    expect(store.refusal).toBeUndefined();
    // As a source reads it again: what is erased is passed by, and the offset goes on (A12).
    const offset = { source: 's', topic: 't', partition: 0, expected: 60n, next: 63n };
    const replay = await store.commit('job', 'v1', {
      rows: batchOf([{ id: GONE, event: 60, offset: 60 }]),
      offset,
      deadLetters: [
        letterOf(61, GONE, 'no JSON'),
        letterOf(62, null, `{"id": "${GONE}", "vector": [0.5]}`),
        letterOf(63, 'another', '{}'),
      ],
    });
    expect(replay.outcomes).toEqual(['erased']);
    expect(replay.deadLetters.map(({ position }) => position.offset)).toEqual([63]);
    expect(store.version('job', 'v1').offsets.next(offset)).toBe(63n);
    expect(ask(store, GONE)).toBe('ERASED');
    await store.close();
    expect(foundIn(directory, patternsOf(GONE))).toBe(0);
    const again = open(directory);
    expect(ask(again, GONE)).toBe('ERASED');
    await again.liftErasure(JOBS, [GONE]);
    expect(ask(again, GONE)).toBe('NOT_FOUND');
    expect((await again.commit('job', 'v1', { rows: late() })).outcomes).toEqual(['latest']);
    expect(ask(again, GONE)).toBe(Math.fround(vectorOf(GONE, 200)[0]!));
  });

  test('does not come back in a version or a view of its type that is new, or made anew (A8)', async () => {
    const { store } = await filled();
    await store.erase(JOBS, [GONE]);
    const { versions, ...view } = store.catalogue.mustGetView('job');
    const v2 = { ...versions['v1']!, version: 'v2' };
    store.addVersion('job', v2);
    store.createView({ ...view, versions, name: 'resume' });
    await store.dropView('job');
    store.createView({ ...view, versions: { ...versions, v2 } });
    for (const [name, version] of [
      ['job', 'v1'],
      ['job', 'v2'],
      ['resume', 'v1'],
    ] as const) {
      const { outcomes } = await store.commit(name, version, { rows: late() });
      expect(outcomes).toEqual(['erased']);
      expect(ask(store, GONE, name, version)).toBe('ERASED');
    }
    store.createView({ ...view, versions, name: 'member', entity: 'member' });
    expect((await store.commit('member', 'v1', { rows: late() })).outcomes).toEqual(['latest']);
  });

  test('of one view is erased there alone, and lifted there alone (A8)', async () => {
    const { store } = await filled();
    const { versions, ...view } = store.catalogue.mustGetView('job');
    store.createView({ ...view, versions, name: 'resume' });
    await store.commit('resume', 'v1', { rows: late() });
    await store.erase({ ...JOBS, view: 'resume' }, [GONE]);
    expect([ask(store, GONE, 'resume'), typeof ask(store, GONE)]).toEqual(['ERASED', 'number']);
    await store.liftErasure(JOBS, [GONE]);
    expect(ask(store, GONE, 'resume')).toBe('ERASED');
    await store.liftErasure({ ...JOBS, view: 'resume' }, [GONE]);
    expect(ask(store, GONE, 'resume')).toBe('NOT_FOUND');
  });

  test('is erased in the commit that was on its way, and in none of its versions half (A8)', async () => {
    const { store } = await filled();
    const commits = Array.from({ length: 20 }, async (_, at) =>
      store.commit('job', 'v1', { rows: batchOf([{ id: GONE, event: 500 + at }]) }),
    );
    const receipt = await store.erase(JOBS, [GONE]);
    await Promise.all(commits);
    expect(receipt.removed_at).toBeDefined();
    expect(store.version('job', 'v1').timelines.ids('gone', 1)).toEqual([KEPT]);
  });
});

test('an entity with more revisions than are removed at once goes whole, with all others of its erasure (A8)', async () => {
  const { store, directory } = await filled();
  const rows = Array.from({ length: 5_000 }, (_, event) => ({
    id: event % 2 === 0 ? 'much-1' : `few-${event}`,
    event,
  }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  const ids = [...new Set(rows.map(({ id }) => id))];
  const receipt = await store.erase(JOBS, [...ids, ...ids, 'nobody']);
  expect(receipt).toMatchObject({ entities: ids.length + 1 });
  expect(receipt.removed).toMatchObject({ entities: ids.length, revisions: 5_000 });
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('what was erased is compacted once, at a time that later compactions do not move (A8)', async () => {
  const directory = tempDirectory();
  const clock = new TestClock(1_000);
  const store = open(directory, clock);
  store.createView({ ...viewOf('job', DIM), entity: 'job' });
  const { id } = await store.erase(JOBS, [GONE]);
  expect(store.waitingErasures).toBe(1);
  clock.now = 2_000;
  await store.compact('job', 'v1');
  clock.now = 3_000;
  await store.compact('job', 'v1');
  expect(store.catalogue.mustGetReceipt(id)).toMatchObject({
    erased_at: 1_000,
    removed_at: 1_000,
    compacted_at: 2_000,
  });
  expect(store.waitingErasures).toBe(0);
});

test('what was erased of a view that is dropped is gone with its files (A8)', async () => {
  const { store } = await filled();
  const { id } = await store.erase(JOBS, [GONE]);
  expect(store.catalogue.mustGetReceipt(id).compacted_at).toBeUndefined();
  await store.dropView('job');
  expect(store.catalogue.mustGetReceipt(id).compacted_at).toBeDefined();
});

test('an erasure whose end a crash kept from being written down is over at the next start (A8)', async () => {
  const { store, directory } = await filled();
  const { id } = await store.erase(JOBS, [GONE]);
  vi.spyOn(store.catalogue, 'putReceipt').mockImplementation(() => {
    throw new Error('the disk is full');
  });
  await expect(store.compact('job', 'v1')).rejects.toThrow('the disk is full');
  await store.close();
  const again = open(directory);
  await settle(again);
  expect(again.waitingErasures).toBe(0);
  expect(again.catalogue.mustGetReceipt(id).compacted_at).toBeDefined();
});
