import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { TidemarkError } from '../../../src/ground/errors.ts';
import { micros } from '../../../src/ground/time.ts';
import { resolveMany } from '../../../src/timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../../../src/timetravel/question.ts';
import { PRESENT } from '../../../src/timetravel/status.ts';
import { SECOND, versionOf } from './fixture.ts';
import { World } from './world.ts';

const FROM_V1 = { kind: 'inputs', version: 'v1' } as const;

function statusAt(world: World, knowledge: Question['knowledge'], at: number): number {
  const { store } = world.fixture;
  const question: Question = {
    asOf: micros(at * SECOND),
    boundary: 'inclusive',
    knowledge,
    knownAt: undefined,
    now: micros(0),
    maxAge: ANY_AGE,
    snapshot: store.snapshot,
  };
  return resolveMany(store.version('job', 'v2'), ['a'], question).statuses[0]!;
}

test('event and known times of a backfill are those of the inputs, tombstones too (A2, A5, A7)', async () => {
  const world = await World.open();
  await world.say('v1', { id: 'a', at: 1, known: 2, text: 'cook' });
  await world.say('v1', { id: 'a', at: 3, text: null }, { id: 'b', at: 2, text: 'nurse' });
  const { record } = await world.backfill(FROM_V1);
  expect(record).toMatchObject({ state: 'done', total: 3 });
  expect(record.counts).toMatchObject({ read: 3, stored: 3, duplicate: 0 });
  expect(world.held('v2')).toEqual([
    ['a', 1, 2, 4],
    ['a', 3, 3, null],
    ['b', 2, 2, 5],
  ]);
  const { offsets, log } = world.fixture.store.version('job', 'v2');
  expect(offsets.all()).toEqual([]);
  const { position } = log.read(0, world.fixture.store.snapshot, 1)[0]!;
  expect(position).toMatchObject({ source: `backfill/${record.id}`, topic: 'v1' });
});

test('what was filled is there for the past by input knowledge, and was not served (A5)', async () => {
  const world = await World.open();
  await world.say('v1', { id: 'a', at: 10, known: 20, text: 'cook' });
  await world.backfill(FROM_V1);
  expect(statusAt(world, 'event', 10)).toBe(PRESENT);
  expect(statusAt(world, 'input', 19)).not.toBe(PRESENT);
  expect(statusAt(world, 'input', 20)).toBe(PRESENT);
  expect(statusAt(world, 'served', 999)).not.toBe(PRESENT);
  expect(statusAt(world, 'served', 1_000)).toBe(PRESENT);
});

test('what the live stream brings before, during and after is stored once (A4)', async () => {
  const world = await World.open();
  const said = [1, 2, 3].map((at) => ({ id: 'a', at, text: `job ${at}` }));
  await world.say('v1', ...said);
  await world.say('v2', said[0]!);
  const { embedder } = world.fixture;
  embedder.held = Promise.withResolvers();
  const filling = world.backfill(FROM_V1);
  await expect.poll(() => embedder.asked).toContain('job 2');
  const live = world.say('v2', said[1]!);
  embedder.held.resolve();
  embedder.held = undefined;
  await live;
  const { record } = await filling;
  await world.say('v2', said[2]!);
  expect(world.held('v2').toSorted(([, one], [, other]) => one - other)).toEqual([
    ['a', 1, 1, 5],
    ['a', 2, 2, 5],
    ['a', 3, 3, 5],
  ]);
  const { stored, duplicate } = record.counts;
  expect(stored + duplicate).toBe(3);
  expect(duplicate).toBeGreaterThanOrEqual(1);
});

test('nothing is embedded or stored of an entity that is erased while it is filled (A8)', async () => {
  const world = await World.open();
  const many = Array.from({ length: 600 }, (_, at) => ({ id: `e${at}`, at, text: `job ${at}` }));
  await world.say(
    'v1',
    ...many,
    { id: 'a', at: 1, text: 'cook' },
    { id: 'b', at: 1, text: 'nurse' },
  );
  const { store, embedder } = world.fixture;
  await store.erase({ entity: 'job' }, ['e0']);
  embedder.held = Promise.withResolvers();
  const filling = world.backfill(FROM_V1);
  await expect.poll(() => embedder.asked).toContain('cook');
  await store.erase({ entity: 'job' }, ['a']);
  embedder.held.resolve();
  const { record } = await filling;
  expect(embedder.asked).not.toContain('job 0');
  const ids = world.held('v2').map(([id]) => id);
  expect(ids).toContain('b');
  expect(ids).not.toContain('a');
  expect(ids).not.toContain('e0');
  expect(record.counts).toMatchObject({ stored: 600, erased: 1 });
});

test('a window and a subset of entities are all that is filled', async () => {
  const world = await World.open();
  for (const id of ['a', 'b', 'c']) {
    await world.say('v1', ...[1, 2, 3].map((at) => ({ id, at, text: `${id} ${at}` })));
  }
  const window = { from: 2 * SECOND, to: 3 * SECOND };
  const { record } = await world.backfill(FROM_V1, { window, entities: ['a', 'c'] });
  expect(world.held('v2')).toEqual([
    ['a', 2, 2, 3],
    ['c', 2, 2, 3],
  ]);
  expect(record.counts).toMatchObject({ read: 9, stored: 2, skipped: 7 });
  expect(record.inputs).toMatchObject({ embedded: 2, pooled: 0, repeated: 0 });
});

test('a text that cannot be embedded is told of by its place, and the others are filled', async () => {
  const world = await World.open();
  const { backfills, store, embedder } = world.fixture;
  await world.say('v1', ...['cook', 'bad', 'nurse'].map((text) => ({ id: text, at: 1, text })));
  embedder.failures.set('bad', new TidemarkError('BAD_VECTOR', 'it is not finite'));
  const { record } = await world.backfill(FROM_V1);
  const { seq: offset } = store.version('job', 'v1').log.read(0, store.snapshot, 3)[1]!;
  const why = {
    topic: 'v1',
    partition: 0,
    offset,
    code: 'BAD_VECTOR',
    message: 'it is not finite',
  };
  expect(record.rejected).toEqual([why]);
  expect(record.counts).toMatchObject({ read: 3, stored: 2, rejected: 1 });
  expect(world.held('v2').map(([id]) => id)).toEqual(['cook', 'nurse']);
  const file = join(world.directory, 'backfills', record.id, 'rejected.ndjson');
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(why);
  await backfills.remove(record.id);
  expect(existsSync(file)).toBe(false);
  expect(() => backfills.mustGet(record.id)).toThrow('there is no backfill');
});

test('a version is filled from inputs that are its own alone', async () => {
  const world = await World.open();
  const { backfills, store, pipeline } = world.fixture;
  const prompt = { template: '{{title}}', fields: ['title'] };
  store.addVersion('job', await versionOf(pipeline, 'v3', { name: 'new', prompt }));
  const ask = (version: string, from: string) =>
    backfills.submit({ view: 'job', version, from: { kind: 'inputs', version: from }, window: {} });
  await expect(ask('v1', 'v1')).rejects.toThrow('job@v1 cannot be filled from itself');
  await expect(ask('v1', 'v2')).rejects.toThrow('job@v2 keeps no inputs');
  await expect(ask('v3', 'v1')).rejects.toThrow('made by another prompt');
  await expect(ask('v2', 'v9')).rejects.toThrow('there is no model version job@v9');
  await expect(ask('current', 'v1')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' });
});

test('a backfill ends with a clear state when its version is retired', async () => {
  const world = await World.open();
  const { embedder, store, pipeline, backfills } = world.fixture;
  await world.say('v1', { id: 'a', at: 1, text: 'cook' });
  // Or the second would be the candidate, which is not retired without a word.
  store.addVersion('job', await versionOf(pipeline, 'v3', { name: 'new' }));
  embedder.held = Promise.withResolvers();
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  const { record } = await backfills.submit(asked);
  await expect.poll(() => embedder.asked).toContain('cook');
  await store.retire('job', 'v2', {});
  embedder.held.resolve();
  const ended = await world.ended(record.id);
  expect(ended.record).toMatchObject({ state: 'failed', failure: { code: 'VERSION_NOT_FOUND' } });
});

test('a version that is compacted while it is filled is filled all the same', async () => {
  const world = await World.open();
  const { embedder, store, backfills } = world.fixture;
  const said = Array.from({ length: 1_200 }, (_, at) => ({ id: `e${at}`, at, text: `job ${at}` }));
  await world.say('v1', ...said);
  embedder.held = Promise.withResolvers();
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  const { record } = await backfills.submit(asked);
  await expect.poll(() => embedder.asked.length).toBeGreaterThan(0);
  await Promise.all([store.compact('job', 'v1'), store.compact('job', 'v2')]);
  embedder.held.resolve();
  expect((await world.ended(record.id)).record.counts).toMatchObject({ stored: 1_200 });
  expect(world.held('v2')).toEqual(world.held('v1'));
});

test('of a version one backfill runs at a time, and one that waits can be cancelled', async () => {
  const world = await World.open();
  await world.say('v1', { id: 'a', at: 1, text: 'cook' });
  const { backfills } = world.fixture;
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  const first = await backfills.submit(asked);
  const second = await backfills.submit(asked);
  expect(backfills.waitingOf('job', 'v2')).toBeGreaterThan(0);
  expect((await backfills.remove(second.record.id)).record.state).toBe('cancelled');
  const { record } = await world.ended(first.record.id);
  expect(record.state).toBe('done');
  expect(backfills.waitingOf('job', 'v2')).toBe(0);
  const states = backfills.list(10, undefined).map((each) => each.record.state);
  expect(states.toSorted()).toEqual(['cancelled', 'done']);
});

test('a backfill is cancelled while it waits, and what others store of it is stored once (A4)', async () => {
  const world = await World.open();
  const { backfills, embedder, store } = world.fixture;
  const said = Array.from({ length: 600 }, (_, at) => ({ id: `e${at}`, at, text: `job ${at}` }));
  await world.say('v1', ...said);
  embedder.failure = new TidemarkError('MODEL_UNAVAILABLE', 'the model is warming');
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  const { record } = await backfills.submit(asked);
  await expect.poll(() => backfills.mustGet(record.id).trouble).toBeDefined();
  expect(backfills.waitingOf('job', 'v2')).toBe(600);
  expect((await backfills.remove(record.id)).record.state).toBe('cancelled');
  expect(backfills.waitingOf('job', 'v2')).toBe(0);
  expect(store.version('job', 'v2').offsets.all()).toEqual([]);
  embedder.failure = undefined;
  await world.backfill(FROM_V1, { entities: ['e1', 'e2'] });
  const again = await world.backfill(FROM_V1);
  expect(again.record.counts).toMatchObject({ stored: 598, duplicate: 2 });
});

test('a backfill waits for a model that cannot run, and says so', async () => {
  const world = await World.open();
  await world.say('v1', { id: 'a', at: 1, text: 'cook' });
  const { backfills, embedder } = world.fixture;
  embedder.failure = new TidemarkError('MODEL_UNAVAILABLE', 'the model is warming');
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  const { record } = await backfills.submit(asked);
  await expect
    .poll(() => backfills.mustGet(record.id))
    .toMatchObject({ trouble: 'the model is warming', record: { state: 'running' } });
  embedder.failure = undefined;
  const ended = await world.ended(record.id);
  expect(ended.record).toMatchObject({ state: 'done', counts: { stored: 1 } });
  expect(ended.trouble).toBeUndefined();
});

test('a backfill that is broken off by a stop goes on at the next start', async () => {
  const before = await World.open();
  const said = Array.from({ length: 1_200 }, (_, at) => ({ id: `e${at}`, at, text: `job ${at}` }));
  await before.say('v1', ...said);
  const { backfills, embedder } = before.fixture;
  const asked = { view: 'job', version: 'v2', from: FROM_V1, window: {} };
  embedder.held = Promise.withResolvers();
  const { record } = await backfills.submit(asked);
  await expect.poll(() => embedder.asked.length).toBeGreaterThan(0);
  await before.close();
  expect(record.state).toBe('running');
  const after = await World.open({ directory: before.directory });
  const ended = await after.ended(record.id);
  expect(ended.record).toMatchObject({ state: 'done', counts: { read: 1_200, stored: 1_200 } });
  expect(after.held('v2')).toEqual(after.held('v1'));
});
