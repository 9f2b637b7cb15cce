import { Registry } from 'prom-client';
import { expect, onTestFinished, test, vi } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import type { Maintained } from '../../src/store/maintain.ts';
import type { Store } from '../../src/store/store.ts';
import { Upkeep } from '../../src/upkeep.ts';
import { batchOf, TestClock, testStore, viewOf } from '../support/store.ts';

const HOUR = 3_600e6;

interface Said {
  level: 'info' | 'error';
  message: string;
  [field: string]: unknown;
}

/** The upkeep of a store with a round every so many seconds, and what it says in the log. */
function upkeepOf(
  store: Store,
  interval_seconds: number,
  passed: () => number = () => store.clock(),
  tidy?: (isClockAhead: boolean) => Promise<void>,
): { upkeep: Upkeep; said: Said[] } {
  const said: Said[] = [];
  const say =
    (level: Said['level']) =>
    (fields: object, message: string): void =>
      void said.push({ level, message, ...fields });
  const settings = { interval_seconds, dead_share: 0.3, erased_within_seconds: 86_400 };
  const log = { info: say('info'), error: say('error') };
  const upkeep = new Upkeep(store, settings, log, passed, tidy);
  onTestFinished(() => upkeep.stop());
  return { upkeep, said };
}

test('rounds follow one another, never two at once, and none after a stop', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const store = testStore();
  const rounds: PromiseWithResolvers<Maintained[]>[] = [];
  vi.spyOn(store, 'maintain').mockImplementation(async () => {
    const round = Promise.withResolvers<Maintained[]>();
    rounds.push(round);
    return round.promise;
  });
  const { upkeep } = upkeepOf(store, 1);
  upkeep.start();
  await vi.advanceTimersByTimeAsync(999);
  expect(rounds).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rounds).toHaveLength(1);
  rounds[0]!.resolve([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(rounds).toHaveLength(2);
  upkeep.stop();
  rounds[1]!.resolve([]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rounds).toHaveLength(2);
});

test('the first round comes a minute after the start, however long the interval is', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const store = testStore();
  const maintain = vi.spyOn(store, 'maintain').mockResolvedValue([]);
  const { upkeep } = upkeepOf(store, 3_600);
  upkeep.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(maintain).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(3_599_999);
  expect(maintain).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(maintain).toHaveBeenCalledTimes(2);
});

test('an interval of 0 turns maintenance off', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const store = testStore();
  const maintain = vi.spyOn(store, 'maintain');
  const { upkeep } = upkeepOf(store, 0);
  upkeep.start();
  await vi.advanceTimersByTimeAsync(86_400_000);
  expect(maintain).not.toHaveBeenCalled();
});

test('a round that fails says why, and the next one is tried', async () => {
  const clock = new TestClock(7e6);
  const store = testStore(viewOf('job'), clock);
  vi.spyOn(store, 'maintain')
    .mockRejectedValueOnce(new Error('the disk is on fire'))
    .mockResolvedValueOnce([
      {
        feature_view: 'job',
        version: 'v1',
        dead_share: 0.5,
        failure: new TidemarkError('STORE_CORRUPT', 'a chunk is damaged'),
      },
    ]);
  const { upkeep, said } = upkeepOf(store, 0.005);
  const registry = new Registry();
  upkeep.addMetrics(registry);
  upkeep.start();
  await expect.poll(() => said.length).toBe(2);
  expect(said).toMatchObject([
    { level: 'error', err: { message: 'the disk is on fire' } },
    { level: 'error', feature_view: 'job', version: 'v1', err: { code: 'STORE_CORRUPT' } },
  ]);
  const success = 'tidemark_maintenance_last_success_timestamp_seconds 7';
  await expect.poll(async () => registry.metrics()).toContain(success);
  expect(await registry.metrics()).toContain(
    'tidemark_compactions_total{outcome="failed",cause="upkeep"} 1',
  );
});

test('what was erased is compacted in time, what retention let go when it is much (A8, A10)', async () => {
  const clock = new TestClock(1_000);
  const store = testStore(viewOf('job'), clock);
  store.createView(viewOf('member'));
  const push = async (view: string, from: number, to: number, id = 'a'): Promise<void> => {
    const rows = Array.from({ length: to - from }, (_, at) => ({
      id,
      event: from + at,
      vector: [from + at, 1],
    }));
    await store.commit(view, 'v1', { rows: batchOf(rows) });
  };
  await push('job', 0, 10);
  await push('job', 0, 90, 'b');
  await push('member', 0, 100);
  store.changeView('member', { retention: HOUR });
  const { id } = await store.erase({ entity: 'job' }, ['a']);
  const { upkeep, said } = upkeepOf(store, 0.005);
  const registry = new Registry();
  upkeep.addMetrics(registry);
  const metricsHave = async (line: string): Promise<boolean> =>
    (await registry.metrics()).split('\n').includes(line);
  upkeep.start();
  const timestamp = 'tidemark_maintenance_last_success_timestamp_seconds';
  await expect.poll(async () => metricsHave(`${timestamp} 0.001`)).toBe(true);
  expect(await metricsHave('tidemark_erasures_waiting 1')).toBe(true);
  expect(await metricsHave('tidemark_compactions_total{outcome="done",cause="upkeep"} 0')).toBe(
    true,
  );
  expect(await metricsHave('tidemark_store_dead_share{feature_view="job",version="v1"} 1')).toBe(
    false,
  );
  clock.now = 2 * HOUR;
  await push('member', 100, 110);
  await expect.poll(() => said.length).toBe(1);
  store.changeView('member', {});
  clock.now = 25 * HOUR;
  await expect.poll(() => said.length).toBe(2);
  expect(said).toMatchObject([
    { level: 'info', message: 'compacted', feature_view: 'member', revisions_dropped: 99 },
    { level: 'info', message: 'compacted', feature_view: 'job', vectors_dropped: 10 },
  ]);
  expect(store.catalogue.mustGetReceipt(id).compacted_at).toBe(25 * HOUR);
  await expect.poll(async () => metricsHave('tidemark_erasures_waiting 0')).toBe(true);
  expect(await metricsHave('tidemark_compactions_total{outcome="done",cause="upkeep"} 2')).toBe(
    true,
  );
  upkeep.noteAsked('done');
  expect(await metricsHave('tidemark_compactions_total{outcome="done",cause="asked"} 1')).toBe(
    true,
  );
});

test('while the clock is ahead of the time that passed, horizons stay where they are (A10), and whoever tidies hears of it', async () => {
  const clock = new TestClock(1_000 * HOUR);
  const store = testStore({ ...viewOf('job'), retention: HOUR }, clock);
  const heard: boolean[] = [];
  const tidy = async (isClockAhead: boolean): Promise<void> => void heard.push(isClockAhead);
  const { upkeep, said } = upkeepOf(store, 0.005, () => 0, tidy);
  const maintain = vi.spyOn(store, 'maintain');
  upkeep.start();
  await vi.waitUntil(() => store.catalogue.mustGetView('job').horizon?.moment === 999 * HOUR);
  clock.now += 8_760 * HOUR;
  await vi.waitUntil(() => said.length > 0);
  const rounds = maintain.mock.calls.length;
  await vi.waitUntil(() => maintain.mock.calls.length > rounds + 2);
  expect(new Set(heard)).toEqual(new Set([false, true]));
  expect(heard.at(-1)).toBe(true);
  expect(store.catalogue.mustGetView('job').horizon?.moment).toBe(999 * HOUR);
  expect(said[0]).toMatchObject({ level: 'error', message: expect.stringContaining('ahead') });
  clock.now -= 8_759.5 * HOUR;
  await vi.waitUntil(() => store.catalogue.mustGetView('job').horizon?.moment !== 999 * HOUR);
  await vi.waitUntil(() => heard.at(-1) === false);
});
