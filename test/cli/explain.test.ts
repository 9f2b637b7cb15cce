import { expect, test } from 'vitest';

import { run } from './run.ts';
import { line, startServer } from './server.ts';

const JANUARY = '2026-01-01T00:00:00Z';
const MARCH = '2026-03-01T00:00:00Z';

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

test('explain marks the winner, and says of each revision which rule decided about it', async () => {
  const url = await serverWithHistory();
  const asked = ['explain', 'job', 'a', '--as-of', '2026-02-01T00:00:00Z', '--url', url];
  const { code, out, err } = await run(asked);
  expect(out).toMatch(/^a in job@v1, snapshot \d+$/m);
  expect(out).toMatch(/^PRESENT, A2: seq \d+ wins/m);
  expect(out).toMatch(
    /^ +2026-03-01T00:00:00Z .* A1 +its event_timestamp 2026-03-01T00:00:00Z is after as_of 2026-02-01T00:00:00Z$/m,
  );
  expect(out).toMatch(
    /^\* +2026-01-01T00:00:00Z .* A2 +of all that count it is the last in order$/m,
  );
  expect([code, err]).toEqual([0, '']);
  const json = await run([...asked, '--json']);
  expect(JSON.parse(json.out)).toMatchObject({
    status: 'PRESENT',
    revisions: [{ verdict: 'dropped', rule: 'A1' }, { verdict: 'kept' }],
  });
});

test('explain of an entity that has no vector in force ends with 1', async () => {
  const url = await serverWithHistory();
  const deleted = await run(['explain', 'job', 'b', '--url', url]);
  expect(deleted.out).toMatch(/^DELETED, A7: /m);
  expect(deleted.code).toBe(1);
  const nobody = await run(['explain', 'job', 'nobody', '--url', url]);
  expect(nobody.out).toMatch(/^NOT_FOUND, the entity has no revision$/m);
  expect(nobody.code).toBe(1);
});

test('explain passes on all that is asked, and says when its list is cut', async () => {
  const url = await serverWithHistory();
  const asked =
    `explain job a --limit 1 --as-of ${MARCH} --boundary exclusive --knowledge input ` +
    `--known-at ${MARCH} --max-age P30D --version v1 --at-snapshot 5 --json --url ${url}`;
  const { out, err } = await run(asked.split(' '));
  expect(err).toBe('');
  expect(JSON.parse(out)).toMatchObject({
    version: 'v1',
    snapshot: 5,
    question: { as_of: MARCH, boundary: 'exclusive', knowledge: 'input', known_at: MARCH },
    max_age: 'P30D',
    status: 'OUTSIDE_MAX_AGE',
    revisions: [{ event_timestamp: JANUARY, verdict: 'kept' }],
    cut: { newer: true, older: false },
  });
  const table = await run(['explain', 'job', 'a', '--limit', '1', '--url', url]);
  expect(table.err).toBe('There are older ones: raise --limit.\n');
  const age = await run(['explain', 'job', 'a', '--max-age', 'P1M', '--url', url]);
  expect([age.code, age.err]).toEqual([2, expect.stringContaining('weeks, days')]);
});
