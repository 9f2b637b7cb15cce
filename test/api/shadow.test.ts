import { expect, onTestFinished, test, vi } from 'vitest';

import { Shadow } from '../../src/rollout/shadow.ts';
import { type Api, minutesAgo, startWithJob } from './harness.ts';

const IDS = Array.from({ length: 20 }, (_, at) => `e${at}`);
const V2 = { version: 'v2', dim: 2, dtype: 'float32' };
const TYPES = ['application/json', 'application/vnd.msgpack', 'application/vnd.safetensors'];

/** `job` with v1, and the means to add v2 to it; every lookup that may be picked is. */
async function startWatched() {
  const first = await startWithJob();
  const { store } = first.deps;
  const shadow = new Shadow({ store, sample: 1, queueMax: 100, random: () => 0 });
  onTestFinished(() => shadow.stop());
  const api = await startWithJob({ store, shadow });
  await push(api, 'v1');
  return { api, pick: vi.spyOn(shadow, 'pick'), remember: vi.spyOn(shadow, 'remember') };
}

async function push(api: Api, version: string): Promise<void> {
  const records = IDS.map((entity_id, at) => {
    return { entity_id, event_timestamp: minutesAgo(5), vector: [Math.cos(at), Math.sin(at)] };
  });
  const pushed = await api.send('POST', '/v1/push', { feature_view: 'job', version, records });
  expect(pushed.status).toBe(200);
}

async function addV2(api: Api): Promise<void> {
  await api.send('POST', '/v1/feature-views/job/versions', V2);
  await push(api, 'v2');
}

async function lookUp(api: Api, of: object = {}, question: object = {}, accept = TYPES[0]!) {
  const lookups = [{ feature_view: 'job', entity_ids: IDS, ...of }];
  const { status } = await api.send('POST', '/v1/lookup', { lookups, ...question }, { accept });
  expect(status).toBe(200);
}

async function shown(api: Api): Promise<Record<string, unknown>> {
  const { status, body } = await api.send('GET', '/v1/feature-views/job/shadow');
  expect(status).toBe(200);
  return body;
}

test('lookups of a view without a candidate pick nothing, and are not remembered', async () => {
  const { api, pick } = await startWatched();
  await lookUp(api);
  expect(pick).not.toHaveBeenCalled();
  expect(await shown(api)).toMatchObject({ current: 'v1', candidate: null, lookups: 0 });
});

test.each(TYPES)('lookups in %s are asked of the candidate too', async (accept) => {
  const { api } = await startWatched();
  await addV2(api);
  await lookUp(api, {}, {}, accept);
  await expect
    .poll(async () => shown(api))
    .toMatchObject({
      current: 'v1',
      candidate: 'v2',
      sample: 1,
      process: null,
      lookups: 1,
      dropped: 0,
      ids: 20,
      present: 20,
      covered: 20,
      coverage: 1,
      cosine: { mean: expect.closeTo(1, 6), p5: expect.closeTo(1, 6) },
      neighbour_overlap: { lookups: 1, mean: 1, by_chance: 10 / 19 },
    });
});

test('lookups of a version by name, of a moment and at a snapshot are asked of nobody else', async () => {
  const { api, pick } = await startWatched();
  await addV2(api);
  await lookUp(api, { version: 'current' });
  await lookUp(api, { version: 'v1' });
  await lookUp(api, {}, { as_of: minutesAgo(1) });
  await lookUp(api, {}, { known_at: minutesAgo(1) });
  await lookUp(api, {}, { at_snapshot: api.deps.store.snapshot });
  expect(pick).not.toHaveBeenCalled();
});

test('a lookup that is not picked is not remembered', async () => {
  const { api, pick, remember } = await startWatched();
  await addV2(api);
  pick.mockReturnValue(false);
  await lookUp(api);
  expect(pick).toHaveBeenCalledTimes(1);
  expect(remember).not.toHaveBeenCalled();
});

test('what was found is in the metrics, by view and candidate', async () => {
  const { api } = await startWatched();
  await addV2(api);
  await lookUp(api);
  await expect.poll(async () => (await shown(api)).lookups).toBe(1);
  const { bytes } = await api.send('GET', '/metrics');
  const text = bytes.toString();
  const labels = '{feature_view="job",version="v2"}';
  for (const line of [
    `tidemark_shadow_lookups_total${labels} 1`,
    `tidemark_shadow_present_total${labels} 20`,
    `tidemark_shadow_covered_total${labels} 20`,
    `tidemark_shadow_neighbour_overlap${labels} 1`,
  ]) {
    expect(text).toContain(line);
  }
  expect(text).toMatch(/tidemark_shadow_cosine_p5\{.+\} (1|0\.9999)/);
});

test('a server that asks no candidate says so', async () => {
  const api = await startWithJob();
  expect(await shown(api)).toMatchObject({ sample: 0, since: null, lookups: 0, coverage: null });
  expect((await api.send('GET', '/v1/feature-views/none/shadow')).status).toBe(404);
});
