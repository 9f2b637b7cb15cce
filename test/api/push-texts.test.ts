import { expect, test } from 'vitest';

import type { Deps, TextRecord } from '../../src/api/deps.ts';
import { TidemarkError } from '../../src/ground/errors.ts';
import { Turns } from '../../src/ingest/turns.ts';
import { writeNumbers } from '../../src/store/dtype.ts';
import { JOB, minutesAgo, pushTo, startApi } from './harness.ts';

const AT = minutesAgo(10);
const PROMPT = { template: '{{h}}', fields: ['h'], parts: { profile: ['h'] } };

/** Puts entities together in their turns, and refuses `bad` in version v2 alone. */
function withTurns(asked: TextRecord[][]): Deps['addTexts'] {
  const turns = new Map<string, Turns>();
  return async (_view, { version, dim, dtype }, batch, records) => {
    asked.push([...records]);
    if (!turns.has(version)) turns.set(version, new Turns());
    const release = await turns.get(version)!.take(records.map(({ entityId }) => entityId));
    const rows = records.map(({ event, known, input }) => {
      const h = input !== null && 'fields' in input ? input.fields['h'] : '';
      if (version === 'v2' && h === 'bad') return new TidemarkError('BAD_INPUT', 'bad');
      writeNumbers([1, 2], dim, dtype, batch.nextPayload());
      return [{ event, known, payload: batch.addFilled() }];
    });
    return { rows, release };
  };
}

function record(h: string): object {
  return { entity_id: 'ada', event_timestamp: AT, part: 'profile', fields: { h } };
}

test('pushes of one entity to two versions end, also where one of them is refused', async () => {
  const asked: TextRecord[][] = [];
  const api = await startApi({ addTexts: withTurns(asked) });
  const model = { name: 'mini', prompt: PROMPT };
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, model });
  await api.send('POST', '/v1/feature-views/job/versions', {
    version: 'v2',
    dim: 2,
    dtype: 'float32',
    model,
  });
  const pushes = Array.from({ length: 8 }, (_, at) =>
    pushTo(api, at % 2 === 0 ? [record('ok'), record('bad')] : [record(`ok ${at}`)]),
  );
  for (const [at, { status, body }] of (await Promise.all(pushes)).entries()) {
    expect(status).toBe(200);
    expect(body.rejected).toMatchObject(at % 2 === 0 ? [{ index: 1, code: 'BAD_INPUT' }] : []);
  }
  expect(asked.length).toBeGreaterThan(16);
});

test('a version that is retired while texts wait for their vectors keeps no push from the others', async () => {
  let retire: (() => Promise<void>) | undefined;
  const api = await startApi({
    addTexts: async (_view, { version, dim, dtype }, batch, records) => {
      if (version === 'v2') await retire?.();
      const rows = records.map(({ event, known }) => {
        writeNumbers([1, 2], dim, dtype, batch.nextPayload());
        return [{ event, known, payload: batch.addFilled() }];
      });
      return { rows, release: () => {} };
    },
  });
  const model = { name: 'mini', prompt: PROMPT };
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, model });
  const v2 = { version: 'v2', dim: 2, dtype: 'float32', model };
  await api.send('POST', '/v1/feature-views/job/versions', v2);
  retire = async () => api.deps.store.retire('job', 'v2', {});
  const { status, body } = await pushTo(api, [record('ok'), { entity_id: '' }]);
  expect(status).toBe(200);
  expect(body).toMatchObject({ versions: { v1: { latest: 1 } }, rejected: [{ index: 1 }] });

  await api.send('POST', '/v1/feature-views/job/versions', v2);
  const records = [record('ok')];
  const named = await api.send('POST', '/v1/push', { feature_view: 'job', version: 'v2', records });
  expect([named.status, named.body.code]).toEqual([404, 'VERSION_NOT_FOUND']);
});
