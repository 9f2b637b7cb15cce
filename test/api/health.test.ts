import { expect, test } from 'vitest';

import { Drift } from '../../src/rollout/drift.ts';
import { type Api, minutesAgo, NOW, pushTo, startApi, startWithJob } from './harness.ts';

const BOUNDS = { norm_spread_max: 0.5, duplicates_more_max: 0.05, centroid_shift_max: 0.1 };

async function startMeasured() {
  const { deps, clock } = await startApi();
  const { store } = deps;
  const drift = new Drift({ store, bounds: BOUNDS, log: { error: () => {} } });
  return { api: await startWithJob({ store, drift }), drift, clock };
}

async function healthOf(api: Api): Promise<unknown> {
  const { body } = await api.send('GET', '/v1/feature-views/job');
  return (body.versions as Record<string, { health: unknown }>)['v1']!.health;
}

test('a view tells the health of its versions, once they were measured', async () => {
  const { api, drift } = await startMeasured();
  await drift.round();
  expect(await healthOf(api)).toBeNull();
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: minutesAgo(10), vector: [3, 4] },
    { entity_id: 'b', event_timestamp: minutesAgo(20), vector: [0, 0] },
  ]);
  expect(await healthOf(api)).toBeNull();
  await drift.round();
  expect(await healthOf(api)).toEqual({
    ok: false,
    off: ['zero_vectors', 'norm_spread'],
    measured_timestamp: NOW,
    measured_vectors: 2,
    norm_mean: 2.5,
    norm_spread: 1,
    zero_vectors: 1,
    not_finite: 0,
    duplicate_share: 0,
    centroid_shift: null,
    baseline_timestamp: null,
    newest_event_timestamp: '2026-03-01T11:50:00Z',
    newest_created_timestamp: NOW,
  });
});

test('the metrics tell what was measured, and how long ago the newest revision was', async () => {
  const { api, drift, clock } = await startMeasured();
  await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(10), vector: [3, 4] }]);
  await drift.round();
  clock.now += 30e6;
  const text = (await api.send('GET', '/metrics')).bytes.toString();
  const labels = '{feature_view="job",version="v1"}';
  for (const line of [
    `tidemark_version_ok${labels} 1`,
    `tidemark_version_measured_vectors${labels} 1`,
    `tidemark_version_norm_mean${labels} 5`,
    `tidemark_version_zero_vectors${labels} 0`,
    `tidemark_version_duplicate_share${labels} 0`,
  ]) {
    expect(text).toContain(line);
  }
  // No baseline, no shift.
  expect(text).not.toContain('tidemark_version_centroid_shift{');
  const fresh = [...text.matchAll(/freshness_seconds\{.+time="(\w+)"\} (.+)/g)];
  expect(fresh.map(([, time, seconds]) => [time, seconds])).toEqual([
    ['event', '630'],
    ['created', '30'],
  ]);
});
