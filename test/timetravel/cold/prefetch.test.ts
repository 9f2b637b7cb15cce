import { closeSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import { TidemarkError } from '../../../src/ground/errors.ts';
import type { Store } from '../../../src/store/store.ts';
import { Prefetch } from '../../../src/timetravel/cold/prefetch.ts';
import { gather, resolveMany } from '../../../src/timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../../../src/timetravel/question.ts';
import { batchOf, testStore, viewOf } from '../../support/store.ts';

const DIM = 16;
/** Somebody waits. */
const WAITED = new AbortController().signal;

/** Of more revisions than a head has, the older stand in sealed chunks. */
async function filled(entities: number, revisions = 1): Promise<Store> {
  const store = testStore(viewOf('job', DIM));
  const rows = Array.from({ length: entities * revisions }, (_, at) => ({
    id: `e${at % entities}`,
    event: Math.floor(at / entities) * 10,
    vector: Array.from({ length: DIM }, (__, number) => (at % entities) + number + at / 2 ** 20),
  }));
  await store.commit('job', 'v1', { rows: batchOf(rows, DIM) });
  return store;
}

function question(store: Store, asOf?: number): Question {
  return {
    asOf,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  };
}

/** Of files of any size. */
function started(): Prefetch {
  const prefetch = new Prefetch({ isCold: true }, 0);
  onTestFinished(async () => prefetch.close());
  return prefetch;
}

function lookUp(store: Store, ids: readonly string[], asked: Question): Buffer {
  const version = store.version('job', 'v1');
  const out = Buffer.alloc(ids.length * version.vectors.vectorBytes);
  gather(version.vectors, resolveMany(version, ids, asked), out);
  return out;
}

const idsOf = (count: number): string[] => Array.from({ length: count }, (_, at) => `e${at}`);

test.each([
  ['the latest', undefined],
  ['a moment that is far back', 100],
])('what was brought is answered as it was before: %s (A3)', async (_, asOf) => {
  const store = await filled(30, 60);
  const prefetch = started();
  const ids = [...idsOf(30), 'nobody', 'e3'];
  const version = store.version('job', 'v1');
  await prefetch.bring(version, ids, question(store, asOf), WAITED);
  const { vectorIds } = resolveMany(version, idsOf(30), question(store, asOf));
  // Those who brought them verified their checksums.
  for (const id of vectorIds) expect(version.vectors.checked.has(id)).toBe(true);
  const brought = lookUp(store, ids, question(store, asOf));
  await store.compact('job', 'v1');
  expect(brought).toEqual(lookUp(store, ids, question(store, asOf)));
});

test('what is resident is not read again', async () => {
  const store = await filled(10);
  const version = store.version('job', 'v1');
  const pin = vi.spyOn(version.environment, 'pin');
  const prefetch = started();
  const asked = question(store);
  lookUp(store, idsOf(9), asked);
  await prefetch.bring(version, idsOf(9), asked, WAITED);
  expect(pin).not.toHaveBeenCalled();
  await prefetch.bring(version, idsOf(10), asked, WAITED);
  expect(pin).toHaveBeenCalledOnce();
});

test('a small file is not worth its threads', async () => {
  const store = await filled(3);
  const version = store.version('job', 'v1');
  const pin = vi.spyOn(version.environment, 'pin');
  const prefetch = new Prefetch({ isCold: true });
  await prefetch.bring(version, idsOf(3), question(store), WAITED);
  expect(pin).not.toHaveBeenCalled();
});

test('requests take turns: one id does not wait for the many that were asked before', async () => {
  const store = await filled(300);
  const version = store.version('job', 'v1');
  const prefetch = started();
  await prefetch.bring(version, ['e0'], question(store), WAITED);
  const order: string[] = [];
  const many = prefetch
    .bring(version, idsOf(300), question(store), WAITED)
    .then(() => order.push('many'));
  const one = prefetch
    .bring(version, ['e7'], question(store), WAITED)
    .then(() => order.push('one'));
  await Promise.all([many, one]);
  expect(order).toEqual(['one', 'many']);
});

test('what nobody waits for any more is not read on, and keeps no state of the files', async () => {
  const store = await filled(300);
  const version = store.version('job', 'v1');
  const { environment } = version;
  const pin = environment.pin.bind(environment);
  let kept = 0;
  const gone = new AbortController();
  const pinning = vi.spyOn(environment, 'pin').mockImplementation(() => {
    kept++;
    // By then the first parts are being read.
    setImmediate(() => gone.abort());
    const { release, ...pinned } = pin();
    const letGo = () => {
      kept--;
      release();
    };
    return { ...pinned, release: letGo };
  });
  const prefetch = started();
  const asked = question(store);
  await prefetch.bring(version, idsOf(300), asked, gone.signal);
  expect(kept).toBe(0);
  const { vectorIds } = resolveMany(version, idsOf(300), asked);
  const read = vectorIds.filter((id) => version.vectors.checked.has(id)).length;
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThanOrEqual(4 * 32);
  await prefetch.bring(version, idsOf(300), asked, gone.signal);
  expect(pinning).toHaveBeenCalledOnce();
});

test('however many requests wait, few states of the files are kept for them', async () => {
  const store = await filled(300);
  const version = store.version('job', 'v1');
  const { environment } = version;
  const pin = environment.pin.bind(environment);
  let [kept, most] = [0, 0];
  vi.spyOn(environment, 'pin').mockImplementation(() => {
    const { release, ...pinned } = pin();
    most = Math.max(most, ++kept);
    const letGo = () => {
      kept--;
      release();
    };
    return { ...pinned, release: letGo };
  });
  const prefetch = started();
  const asked = question(store);
  await Promise.all(
    Array.from({ length: 300 }, async () =>
      prefetch.bring(version, idsOf(300).slice(150), asked, WAITED),
    ),
  );
  expect(kept).toBe(0);
  // Of those that take turns, and of the last parts of others, one a thread.
  expect(most).toBeLessThanOrEqual(16 + 4);
});

test('what the disk has lost since it was first read is told by the lookup of it alone', async () => {
  const store = await filled(30);
  const version = store.version('job', 'v1');
  for (const id of version.vectors.ids()) version.vectors.verify(id);
  const file = openSync(version.environment.file, 'r+');
  const numbers = Array.from({ length: DIM }, (_, number) => 20 + number + 20 / 2 ** 20);
  const vector = Buffer.from(new Float32Array(numbers).buffer);
  const at = readFileSync(file).indexOf(vector);
  writeSync(file, Buffer.from([0xff]), 0, 1, at);
  closeSync(file);
  await started().bring(version, idsOf(30), question(store), WAITED);
  expect(() => lookUp(store, ['e20'], question(store))).toThrow(TidemarkError);
  expect(lookUp(store, ['e21'], question(store)).readFloatLE(0)).toBeCloseTo(21);
});

test('who closes it waits for no disk: requests go on without, and the store can be closed', async () => {
  const store = await filled(300);
  const version = store.version('job', 'v1');
  const prefetch = started();
  const brought = prefetch.bring(version, idsOf(300), question(store), WAITED);
  await prefetch.close();
  await brought;
  await prefetch.bring(version, ['e1'], question(store), WAITED);
  await Promise.race([store.compact('job', 'v1'), sleep(5_000).then(() => expect.fail('pinned'))]);
});

test('a version whose file another process has unlinked is given up, and read as it is', async () => {
  const store = await filled(3);
  const version = store.version('job', 'v1');
  const asked = question(store);
  const { file } = version.environment;
  renameSync(file, `${file}.gone`);
  onTestFinished(() => renameSync(`${file}.gone`, file));
  for (const bytesMin of [0, 1]) {
    const prefetch = new Prefetch({ isCold: true }, bytesMin);
    onTestFinished(async () => prefetch.close());
    await prefetch.bring(version, idsOf(3), asked, WAITED);
  }
  expect(lookUp(store, ['e1'], asked)).toHaveLength(4 * DIM);
});
