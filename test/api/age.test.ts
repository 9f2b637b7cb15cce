import { expect, test } from 'vitest';

import { JOB, minutesAgo, NOW, pushTo, startApi, startWithJob } from './harness.ts';

interface Result {
  statuses: string[];
  max_age: string | null;
}

test('a view says how old an answer may be, and a question may say otherwise (A6)', async () => {
  const api = await startApi();
  const made = await api.send('PUT', '/v1/feature-views/job', { ...JOB, max_age: 'PT60M' });
  expect(made.body).toMatchObject({ max_age: 'PT1H' });
  await pushTo(api, [
    { entity_id: 'fresh', event_timestamp: minutesAgo(60), vector: [1, 0] },
    { entity_id: 'old', event_timestamp: minutesAgo(61), vector: [2, 0] },
  ]);
  const ask = async (more: object): Promise<Result> => {
    const { body } = await api.send('POST', '/v1/lookup', {
      lookups: [{ feature_view: 'job', entity_ids: ['fresh', 'old'] }],
      ...more,
    });
    return (body['results'] as [Result])[0];
  };
  expect(await ask({})).toMatchObject({
    statuses: ['PRESENT', 'OUTSIDE_MAX_AGE'],
    max_age: 'PT1H',
    vectors: [[1, 0], null],
    event_timestamps: ['2026-03-01T11:00:00Z', '2026-03-01T10:59:00Z'],
  });
  expect(await ask({ max_age: 'none' })).toMatchObject({
    statuses: ['PRESENT', 'PRESENT'],
    max_age: null,
  });
  expect(await ask({ max_age: 'PT59M' })).toMatchObject({
    statuses: ['OUTSIDE_MAX_AGE', 'OUTSIDE_MAX_AGE'],
    max_age: 'PT59M',
  });
  expect(await ask({ as_of: minutesAgo(1) })).toMatchObject({ statuses: ['PRESENT', 'PRESENT'] });
  const one = await api.send('GET', '/v1/feature-views/job/entities/old?max_age=PT61M');
  expect(one.body).toMatchObject({ status: 'PRESENT', max_age: 'PT1H1M' });
});

test('an answer repeats what its ages were measured from, and can be asked again by it (A6, A9)', async () => {
  const api = await startApi();
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, max_age: 'PT1H' });
  await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(60), vector: [1, 0] }]);
  const lookups = [{ feature_view: 'job', entity_ids: ['a'] }];
  const first = await api.send('POST', '/v1/lookup', { lookups });
  const { question, snapshot } = first.body as { question: object; snapshot: number };
  expect(question).toMatchObject({ as_of: null, now: NOW });
  api.clock.now += 1;
  const later = await api.send('POST', '/v1/lookup', { lookups });
  expect(later.body).toMatchObject({ results: [{ statuses: ['OUTSIDE_MAX_AGE'] }] });
  const again = await api.send('POST', '/v1/lookup', {
    lookups,
    ...question,
    at_snapshot: snapshot,
  });
  expect(again.bytes).toEqual(first.bytes);
});

test('a training join measures the age of each row from its own moment (A6)', async () => {
  const api = await startWithJob();
  await pushTo(api, [{ entity_id: 'a', event_timestamp: minutesAgo(60), vector: [1, 0] }], {
    known: 'event',
  });
  const spine = [minutesAgo(50), minutesAgo(49)]
    .map((moment) => JSON.stringify({ job_id: 'a', event_timestamp: moment }))
    .join('\n');
  const joined = await api.send(
    'POST',
    '/v1/get-historical-features?feature_views=job&max_age=PT10M',
    spine,
    { 'content-type': 'application/x-ndjson' },
  );
  const lines = joined.bytes
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  expect(lines).toMatchObject([
    { job__status: 'PRESENT' },
    { job__status: 'OUTSIDE_MAX_AGE', job__vector: null, job__event_timestamp: null },
    {
      __summary: {
        feature_views: {
          job: { max_age: 'PT10M', statuses: { PRESENT: 1, OUTSIDE_MAX_AGE: 1 } },
        },
      },
    },
  ]);
});

test('max_age and retention are changed by putting the view again, and left alone where left out', async () => {
  const api = await startWithJob();
  const put = async (more: object) => api.send('PUT', '/v1/feature-views/job', { ...JOB, ...more });
  expect((await put({ max_age: 'P30D', retention: 'P365D' })).body).toMatchObject({
    max_age: 'P30D',
    retention: 'P365D',
    horizon: '2025-03-01T12:00:00Z',
  });
  expect((await put({})).body).toMatchObject({ max_age: 'P30D', retention: 'P365D' });
  expect((await put({ max_age: null })).body).toMatchObject({ max_age: null, retention: 'P365D' });
  const refused = await put({ max_age: 'P1Y' });
  expect(refused).toMatchObject({ status: 422, body: { code: 'BAD_DURATION' } });
});

test('a retention of no time at all is refused', async () => {
  const api = await startWithJob();
  for (const zero of ['PT0S', 'P0D', 'PT0.000000S']) {
    const answer = await api.send('PUT', '/v1/feature-views/job', { ...JOB, retention: zero });
    expect(answer).toMatchObject({ status: 422, body: { code: 'BAD_DURATION' } });
    expect(answer.body.detail).toContain('longer than zero');
  }
});

test('a retention holds from the answer on that it was put with (A10)', async () => {
  const api = await startWithJob();
  const record = { entity_id: 'a', event_timestamp: minutesAgo(90), vector: [1, 2] };
  await pushTo(api, [record], { known: 'event' });
  const ask = async () => {
    const lookups = [{ feature_view: 'job', entity_ids: ['a'] }];
    const answer = await api.send('POST', '/v1/lookup', { lookups, as_of: minutesAgo(80) });
    return (answer.body.results as { reasons: string[] }[])[0]!.reasons[0];
  };
  expect(await ask()).toBeNull();
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, retention: 'PT1H' });
  expect(await ask()).toBe('BEFORE_RETENTION');
  // What it has let go does not come back with a longer one.
  await api.send('PUT', '/v1/feature-views/job', { ...JOB, retention: 'P1D' });
  expect(await ask()).toBe('BEFORE_RETENTION');
  const fresh = await api.send('PUT', '/v1/feature-views/new', { ...JOB, retention: 'PT1H' });
  expect(fresh).toMatchObject({ status: 201, body: { horizon: '2026-03-01T11:00:00Z' } });
});
