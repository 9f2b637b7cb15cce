import { describe, expect, test } from 'vitest';

import { type Api, JOB, microsOf, minutesAgo, NOW, pushTo, startWithJob } from './harness.ts';

const ENTITIES = 30;
const IDS = Array.from({ length: ENTITIES }, (_, at) => `job-${at}`);

/** The moment of a round: a minute each, the last one now. */
function momentOf(round: number, rounds: number): string {
  return minutesAgo(rounds - round);
}

/** All entities at once: the vector says which round it is of, and whose. */
async function pushRound(api: Api, round: number, moment: string): Promise<number> {
  const records = IDS.map((entity_id, at) => ({
    entity_id,
    event_timestamp: moment,
    vector: [round, at],
  }));
  const { body } = await pushTo(api, records);
  expect(body.rejected).toEqual([]);
  return body.snapshot as number;
}

interface LookupAnswer {
  snapshot: number;
  results: [{ vectors: ([number, number] | null)[] }];
}

/** The round that the answer is of: one alone, with every entity's own vector. */
function roundOf({ results: [{ vectors }] }: LookupAnswer): number {
  const [round] = vectors[0]!;
  expect(vectors).toEqual(IDS.map((_, at) => [round, at]));
  return round;
}

test('while lookups, joins and pushes go on, a compaction changes no answer, and none is of two states (A3, A9)', async () => {
  const api = await startWithJob();
  const rounds = 300;
  const before = 40;
  const snapshots: number[] = [];
  for (let round = 0; round < before; round++) {
    snapshots.push(await pushRound(api, round, momentOf(round, rounds)));
  }
  const state = { compactions: 0, isDone: false };
  const push = async (): Promise<void> => {
    for (let round = before; !state.isDone && round < rounds; round++) {
      snapshots.push(await pushRound(api, round, momentOf(round, rounds)));
    }
  };
  const lookups = [{ feature_view: 'job', entity_ids: IDS }];
  let asked = 0;
  const lookUp = async (): Promise<void> => {
    while (!state.isDone) {
      const round = asked++ % snapshots.length;
      const latest = await api.send('POST', '/v1/lookup', { lookups });
      const answer = latest.body as unknown as LookupAnswer;
      expect(latest.status).toBe(200);
      const of = roundOf(answer);
      expect(answer.snapshot).toBeGreaterThanOrEqual(snapshots[of] ?? 0);
      if (snapshots[of + 1] !== undefined) expect(answer.snapshot).toBeLessThan(snapshots[of + 1]!);
      const then = { lookups, at_snapshot: snapshots[round] };
      expect(roundOf((await api.send('POST', '/v1/lookup', then)).body as never)).toBe(round);
      const asOf = { lookups, as_of: momentOf(round, rounds), boundary: 'inclusive' };
      expect(roundOf((await api.send('POST', '/v1/lookup', asOf)).body as never)).toBe(round);
    }
  };
  const join = async (): Promise<void> => {
    while (!state.isDone) {
      const moments = IDS.map((_, at) => at % before);
      const spine = moments.map((round, at) =>
        JSON.stringify({ job_id: IDS[at], event_timestamp: momentOf(round, rounds) }),
      );
      const { status, bytes } = await api.send(
        'POST',
        '/v1/get-historical-features?feature_views=job&knowledge=event',
        spine.join('\n'),
        { 'content-type': 'application/x-ndjson' },
      );
      expect(status).toBe(200);
      const rows = bytes.toString().trimEnd().split('\n').slice(0, -1);
      expect(rows.map((row) => (JSON.parse(row) as { job__vector: unknown }).job__vector)).toEqual(
        moments.map((round, at) => [round, at]),
      );
    }
  };
  const load = [push(), lookUp(), lookUp(), join()];
  while (state.compactions < 3) {
    const { status, body } = await api.send('POST', '/v1/compact', { feature_view: 'job' });
    expect([status, body.compactions]).toMatchObject([200, [{ revisions_dropped: 0 }]]);
    state.compactions++;
  }
  state.isDone = true;
  await Promise.all(load);
  expect(asked).toBeGreaterThan(10);
  const { revisions } = api.deps.store.version('job', 'v1').counters();
  expect(revisions).toBe(snapshots.length * ENTITIES);
});

test('a compaction says what it did, of one version, of a view, or of all', async () => {
  const api = await startWithJob();
  await api.send('POST', '/v1/feature-views/job/versions', {
    version: 'v2',
    dim: 2,
    dtype: 'float32',
  });
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, entity: 'member' });
  for (let minute = 0; minute < 30; minute++) {
    await pushTo(
      api,
      [{ entity_id: 'a', event_timestamp: minutesAgo(60 - minute), vector: [minute, 1] }],
      { version: 'v1' },
    );
  }
  api.clock.now += 3_600e6;
  await api.deps.store.advanceHorizon('job', microsOf(NOW));
  const namesOf = async (request: object): Promise<unknown> => {
    const { status, body } = await api.send('POST', '/v1/compact', request);
    expect(status).toBe(200);
    return (body.compactions as { feature_view: string; version: string }[]).map(
      ({ feature_view, version }) => `${feature_view}@${version}`,
    );
  };
  expect(await namesOf({ feature_view: 'job', version: 'v2' })).toEqual(['job@v2']);
  const { body } = await api.send('POST', '/v1/compact', { feature_view: 'job', version: 'v1' });
  expect(body.compactions).toEqual([
    {
      feature_view: 'job',
      version: 'v1',
      bytes_before: expect.any(Number),
      bytes_after: expect.any(Number),
      revisions_dropped: 29,
      vectors_dropped: 29,
      seconds: expect.any(Number),
    },
  ]);
  expect(await namesOf({ feature_view: 'job' })).toEqual(['job@v1', 'job@v2']);
  expect(await namesOf({})).toEqual(['job@v1', 'job@v2', 'member@v1']);
});

describe('what a compaction is asked for', () => {
  test.each([
    [{ feature_view: 'jbo' }, 404, 'VIEW_NOT_FOUND'],
    [{ feature_view: 'job', version: 'v9' }, 404, 'VERSION_NOT_FOUND'],
    [{ version: 'v1' }, 422, 'BAD_REQUEST'],
    [{ all: true }, 422, 'BAD_REQUEST'],
  ])('is refused where there is no such thing: %j', async (request, status, code) => {
    const api = await startWithJob();
    const answer = await api.send('POST', '/v1/compact', request);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });
});

test('a view that is dropped while all are compacted is passed by', async () => {
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, entity: 'member' });
  const gate = Promise.withResolvers<void>();
  const busy = api.deps.store.maintenance.run(undefined, async () => gate.promise);
  const all = api.send('POST', '/v1/compact', {});
  await expect.poll(() => api.deps.store.maintenance.busy).toBe(true);
  const dropped = api.deps.store.dropView('job');
  gate.resolve();
  const { status, body } = await all;
  expect([status, body.compactions]).toMatchObject([200, [{ feature_view: 'member' }]]);
  await Promise.all([busy, dropped]);
});
