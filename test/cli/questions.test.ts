import { expect, test } from 'vitest';

import { run } from './run.ts';
import { line, startServer } from './server.ts';

const JANUARY = '2026-01-01T00:00:00Z';
const MARCH = '2026-03-01T00:00:00Z';
const MAY = '2026-05-01T00:00:00Z';

/** A server on which `a` has two vectors, and `b` one and is deleted. */
async function serverWithHistory(): Promise<string> {
  const { url } = await startServer();
  const stdin = [
    line('a', JANUARY, [1, 0]),
    line('a', MARCH, [0.5, 0.25]),
    line('b', JANUARY, [0, 1]),
    line('b', MARCH, null),
  ];
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin });
  return url;
}

test('get shows the latest vectors in the order of the ids', async () => {
  const url = await serverWithHistory();
  const { code, out } = await run(['get', 'job', 'a', '--url', url]);
  expect(out).toContain('job@v1, 2 × float32');
  expect(out).toMatch(/^a {7}PRESENT {2}2026-03-01T00:00:00Z {2}0\.5 0\.25$/m);
  expect(code).toBe(0);
});

test('get as of a moment shows what was in force then, in JSON row by row', async () => {
  const url = await serverWithHistory();
  const { code, out } = await run([
    'get',
    'job',
    'b',
    'a',
    '--as-of',
    MARCH,
    '--boundary',
    'exclusive',
    '--json',
    '--url',
    url,
  ]);
  expect(JSON.parse(out)).toMatchObject({
    feature_view: 'job',
    version: 'v1',
    dim: 2,
    dtype: 'float32',
    question: { as_of: MARCH, boundary: 'exclusive', knowledge: 'event', known_at: null },
    entities: [
      { entity_id: 'b', status: 'PRESENT', reason: null, event_timestamp: JANUARY, vector: [0, 1] },
      { entity_id: 'a', status: 'PRESENT', reason: null, event_timestamp: JANUARY, vector: [1, 0] },
    ],
  });
  expect(code).toBe(0);
});

test('get of an entity that is not there, or no longer, ends with 1', async () => {
  const url = await serverWithHistory();
  const { code, out } = await run(['get', 'job', 'a', 'b', 'c', '--url', url]);
  expect(out).toMatch(/^b .*DELETED/m);
  expect(out).toMatch(/^c .*NOT_FOUND/m);
  expect(code).toBe(1);
});

test('get passes on the knowledge, the version and the snapshot that are asked', async () => {
  const url = await serverWithHistory();
  const served = await run([
    'get',
    'job',
    'a',
    '--as-of',
    MAY,
    '--knowledge',
    'served',
    '--json',
    '--url',
    url,
  ]);
  expect(JSON.parse(served.out).entities[0]).toMatchObject({ reason: 'NOT_YET_KNOWN' });
  expect(served.code).toBe(1);
  const known = await run([
    'get',
    'job',
    'a',
    '--known-at',
    JANUARY,
    '--version',
    'v1',
    '--json',
    '--url',
    url,
  ]);
  expect(JSON.parse(known.out).entities[0].vector).toEqual([1, 0]);
  const before = await run(['get', 'job', 'a', '--at-snapshot', '0', '--json', '--url', url]);
  expect(before).toMatchObject({ code: 3, err: expect.stringContaining('SNAPSHOT_UNAVAILABLE') });
});

test('timeline shows every revision, and says when there are more', async () => {
  const url = await serverWithHistory();
  const whole = await run(['timeline', 'job', 'b', '--url', url]);
  expect(whole.out).toMatch(/2026-03-01T00:00:00Z .* deleted$/m);
  expect(whole.out).toMatch(/2026-01-01T00:00:00Z .* 2$/m);
  expect(whole).toMatchObject({ code: 0, err: '' });
  const part = await run(['timeline', 'job', 'b', '--limit', '1', '--url', url]);
  expect(part.out).not.toContain(JANUARY);
  expect(part.err).toContain('There are more');
  const json = await run(['timeline', 'job', 'b', '--to', JANUARY, '--json', '--url', url]);
  expect(JSON.parse(json.out)).toMatchObject({
    entity_id: 'b',
    revisions: [{ event_timestamp: JANUARY, known_timestamp: JANUARY, deleted: false }],
    next: null,
  });
  expect((await run(['timeline', 'job', 'nobody', '--url', url])).code).toBe(1);
});

test('a timeline of many pages is read to its end', async () => {
  const { url } = await startServer();
  const stdin = Array.from({ length: 250 }, (_, i) =>
    line('a', new Date(Date.UTC(2026, 0, 1, i)).toISOString(), [i, 1]),
  );
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin });
  const { out } = await run(['timeline', 'job', 'a', '--limit', '9999', '--json', '--url', url]);
  const { revisions, next } = JSON.parse(out);
  expect(revisions).toHaveLength(250);
  expect(new Set(revisions.map(({ seq }: { seq: number }) => seq)).size).toBe(250);
  expect(next).toBeNull();
  const part = await run(['timeline', 'job', 'a', '--limit', '130', '--json', '--url', url]);
  expect(JSON.parse(part.out).revisions).toEqual(revisions.slice(0, 130));
});

test('views lists each model version with its counts', async () => {
  const url = await serverWithHistory();
  const { code, out } = await run(['views'], { env: { TIDEMARK_URL: url } });
  expect(out).toMatch(/^job +job +job_id +v1 \* +2 +float32 +2 +4 +3 +\d+ kB$/m);
  expect(code).toBe(0);
  const json = await run(['views', '--json', '--url', url]);
  expect(JSON.parse(json.out)).toMatchObject({
    feature_views: [
      { feature_view: 'job', versions: { v1: { dim: 2, entities: 2, revisions: 4 } } },
    ],
  });
});
