import { expect, test, vi } from 'vitest';

import { type Backlog, type GateBounds, Gates } from '../../src/rollout/gates.ts';
import type { GateResult } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import { batchOf, testStore, type TestRow, viewOf } from '../support/store.ts';

const BOUNDS: GateBounds = {
  coverage_min: 0.99,
  dim_may_change: false,
  neighbour_overlap_min: 0.1,
  duplicates_more_max: 0.05,
  norm_spread_max: 0.5,
  canaries: [],
  command: [],
  command_seconds: 10,
};

const ENTITIES = 40;
/** Directions of a circle, the neighbours of which are those beside them. */
const around = (at: number): number[] => [
  Math.cos((at * 2 * Math.PI) / ENTITIES),
  Math.sin((at * 2 * Math.PI) / ENTITIES),
];

type Make = (at: number) => readonly number[] | null | undefined;

function rowsOf(make: Make): TestRow[] {
  return Array.from({ length: ENTITIES }, (_, at) => ({ id: `e${at}`, event: 1, vector: make(at) }))
    .filter(({ vector }) => vector !== undefined)
    .map((row) => ({ ...row, vector: row.vector! }));
}

function shell(script: string): { command: string[] } {
  return { command: ['sh', '-c', script] };
}

/** `job` with v1 around a circle, and v2 as given; undefined where it has nothing. */
async function startWith(v2: Make): Promise<Store> {
  const store = testStore();
  const { v1 } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...v1!, version: 'v2' });
  await store.commit('job', 'v1', { rows: batchOf(rowsOf(around)) });
  await store.commit('job', 'v2', { rows: batchOf(rowsOf(v2)) });
  return store;
}

/** `backlogs`: what is found from look to look; the last one from then on. */
function gatesOf(
  store: Store,
  bounds: Partial<GateBounds> = {},
  ...backlogs: readonly Backlog[]
): Gates {
  let looks = 0;
  return new Gates({
    store,
    bounds: { ...BOUNDS, ...bounds },
    backlogOf: () =>
      backlogs[looks++] ?? backlogs.at(-1) ?? { waiting: 0, message: 'nothing waits' },
    sleep: async () => {},
    // A text is a direction: what it says of degrees.
    embed: async (_view, _version, texts) =>
      Float32Array.from(
        texts.flatMap((text) => [
          Math.cos((Number(text) * Math.PI) / 180),
          Math.sin((Number(text) * Math.PI) / 180),
        ]),
      ),
    random: () => 0.5,
  });
}

async function check(gates: Gates): Promise<Record<string, GateResult>> {
  const found = await gates.check('job', 'v2', new AbortController().signal);
  return Object.fromEntries(found.map((each) => [each.gate, each]));
}

const failed = (found: Record<string, GateResult>): string[] =>
  Object.values(found).flatMap(({ ok, gate }) => (ok ? [] : [gate]));

test('a version that is the same but for its name passes all gates', async () => {
  const found = await check(gatesOf(await startWith(around)));
  expect(failed(found)).toEqual([]);
  expect(found['coverage']).toMatchObject({ value: 1, bound: 0.99 });
  expect(found['neighbour_overlap']).toMatchObject({ value: 1 });
  expect(found['norm_spread']!.value).toBeCloseTo(0, 6);
});

test('a version that lacks an entity of forty does not cover 99 of a hundred', async () => {
  const found = await check(gatesOf(await startWith((at) => (at === 7 ? undefined : around(at)))));
  expect(failed(found)).toEqual(['coverage']);
  expect(found['coverage']).toMatchObject({ value: 39 / 40 });
  expect(found['coverage']!.message).toContain('39 of 40 entities that v1 answers');
});

test('an entity that the current version says is deleted need not be covered (A7)', async () => {
  const store = await startWith((at) => (at === 7 ? undefined : around(at)));
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'e7', event: 2, vector: null }]) });
  expect(failed(await check(gatesOf(store)))).toEqual([]);
});

test('vectors of no length, and of lengths far apart, are seen', async () => {
  const found = await check(
    gatesOf(
      await startWith((at) => (at < 2 ? [0, 0] : around(at).map((x) => x * (at % 2 ? 1 : 9)))),
    ),
  );
  expect(failed(found)).toEqual(['zero_vectors', 'norm_spread']);
  expect(found['zero_vectors']).toMatchObject({ value: 2, bound: 0 });
});

test('one vector for all entities is a model that says nothing', async () => {
  const found = await check(gatesOf(await startWith(() => [1, 0])));
  expect(failed(found)).toContain('duplicates');
  expect(found['duplicates']).toMatchObject({ value: 39 / 40 });
});

test('neighbours that nobody had before are no agreement', async () => {
  // Each entity lies where one far away lay.
  const found = await check(
    gatesOf(await startWith((at) => around((at * 17) % ENTITIES)), { neighbour_overlap_min: 0.5 }),
  );
  expect(failed(found)).toEqual(['neighbour_overlap']);
});

test('what waits for the version, or is not known, keeps it from being promoted', async () => {
  const store = await startWith(around);
  const behind = await check(gatesOf(store, {}, { waiting: 12, message: 'source jobs: 12' }));
  expect(behind['backlog']).toEqual({
    gate: 'backlog',
    ok: false,
    value: 12,
    bound: 0,
    message: 'source jobs: 12',
  });
  const unknown = await check(gatesOf(store, {}, { waiting: undefined, message: 'starting' }));
  expect(failed(unknown)).toEqual(['backlog']);
});

test('what waits for a moment alone, as a push that is under way, keeps nothing from being promoted', async () => {
  const store = await startWith(around);
  const pushed = { waiting: 1, message: '1 texts to embed' };
  const found = await check(gatesOf(store, {}, pushed, pushed, { waiting: 0, message: 'nothing' }));
  expect(found['backlog']).toMatchObject({ ok: true, value: 0, message: 'nothing' });
});

test('another dim is a gate of its own, which the settings can open', async () => {
  const store = testStore();
  store.addVersion('job', { ...viewOf('job', 3).versions['v1']!, version: 'v2' });
  expect(failed(await check(gatesOf(store)))).toEqual(['dim']);
  expect(failed(await check(gatesOf(store, { dim_may_change: true })))).toEqual([]);
});

test('canaries are asked of the version’s own model, and need one', async () => {
  const store = await startWith(around);
  const canaries = [
    { feature_view: 'job', texts: ['0', '10'] as [string, string], cosine_min: 0.9, cosine_max: 1 },
    { feature_view: 'job', texts: ['0', '20'] as [string, string], cosine_min: -1, cosine_max: 0 },
    { feature_view: 'member', texts: ['0', '0'] as [string, string], cosine_min: 1, cosine_max: 1 },
  ];
  const without = await gatesOf(store, { canaries }).check('job', 'v2', AbortSignal.timeout(5_000));
  expect(without.find(({ gate }) => gate === 'canaries')).toMatchObject({ ok: true, value: null });

  const { v1 } = store.catalogue.mustGetView('job').versions;
  store.addVersion('job', { ...v1!, version: 'v3', model: { name: 'm', fingerprint: 'f' } });
  const found = await gatesOf(store, { canaries }).check('job', 'v3', AbortSignal.timeout(5_000));
  const asked = found.filter(({ gate }) => gate === 'canaries');
  expect(asked.map(({ ok, bound }) => [ok, bound])).toEqual([
    [true, 0.9],
    [false, 0],
  ]);
});

test('a command of the user’s own is passed when it ends with 0, and is told what it is about', async () => {
  const store = await startWith(around);
  const script = 'echo "$TIDEMARK_FEATURE_VIEW $TIDEMARK_CURRENT $TIDEMARK_CANDIDATE"; exit 3';
  expect((await check(gatesOf(store, shell(script))))['command']).toEqual({
    gate: 'command',
    ok: false,
    value: 3,
    bound: 0,
    message: 'job v1 v2',
  });
  expect(failed(await check(gatesOf(store, shell('true'))))).toEqual([]);
  const missing = await check(gatesOf(store, { command: ['./there-is-none'] }));
  expect(missing['command']).toMatchObject({ ok: false, value: null });
  const slow = await check(gatesOf(store, { ...shell('sleep 30'), command_seconds: 0.1 }));
  expect(slow['command']!.message).toContain('did not end within 0.1 s');
});

test('an entity that is erased while the gates are looked at is not compared, and fails none (A8)', async () => {
  const store = await startWith(around);
  const looked = gatesOf(store).check('job', 'v2', new AbortController().signal);
  const erased = store.erase({ entity: 'job' }, ['e0', 'e1']);
  const found = await looked;
  await erased;
  expect(found.filter(({ ok }) => !ok)).toEqual([]);
  expect(found.find(({ gate }) => gate === 'neighbour_overlap')?.message).toContain('38 entities');
});

test('a version that is retired while its gates are looked at has none', async () => {
  const store = await startWith(around);
  const looked = gatesOf(store).check('job', 'v2', new AbortController().signal);
  const [outcome] = await Promise.allSettled([looked, store.retire('job', 'v2', {})]);
  expect(outcome).toMatchObject({ reason: { code: 'VERSION_NOT_FOUND' } });
});

test('gates of a version are not those of another one that has its name by then', async () => {
  const store = await startWith(around);
  const [v1, v2] = ['v1', 'v2'].map((name) => store.version('job', name));
  let asked = 0;
  vi.spyOn(store, 'version').mockImplementation((_view, name) =>
    name === 'v1' || ++asked > 2 ? v1! : v2!,
  );
  await expect(
    gatesOf(store).check('job', 'v2', new AbortController().signal),
  ).rejects.toMatchObject({
    code: 'VERSION_NOT_FOUND',
    message: expect.stringContaining('job@v2 was made anew'),
  });
});
