import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect, onTestFinished, test } from 'vitest';

import { run } from './run.ts';
import { line, startServer } from './server.ts';

const JANUARY = '2026-01-01T00:00:00Z';
const MARCH = '2026-03-01T00:00:00Z';
const BETWEEN = ['--from', '2026-02-01T00:00:00Z', '--to', '2026-04-01T00:00:00Z'];

async function serverWithHistory(): Promise<string> {
  const { url } = await startServer();
  const stdin = [
    line('a', JANUARY, [1, 0]),
    line('a', MARCH, [0, 1]),
    line('b', JANUARY, [0, 1]),
    line('b', MARCH, null),
    line('c', MARCH, [1, 1]),
    line('d', JANUARY, [1, 1]),
  ];
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin });
  return url;
}

test('diff shows what came, went and moved, and counts the rest', async () => {
  const url = await serverWithHistory();
  const { code, out, err } = await run(['diff', 'job', ...BETWEEN, '--url', url]);
  expect(out).toMatch(
    /^job@v1, snapshot \d+: of 4 entities 1 added, 1 removed, 1 changed, 1 unchanged$/m,
  );
  expect(out).toMatch(/^a +changed +0\.000000 +2026-01-01T00:00:00Z +2026-03-01T00:00:00Z$/m);
  expect(out).toMatch(/^b +removed +2026-01-01T00:00:00Z +DELETED$/m);
  expect(out).toMatch(/^c +added +NOT_FOUND +2026-03-01T00:00:00Z$/m);
  expect([code, err]).toEqual([0, '']);
});

test('diff in JSON is the lines of the server', async () => {
  const url = await serverWithHistory();
  const { code, out } = await run(['diff', 'job', ...BETWEEN, '--json', '--url', url]);
  const [, from, , to] = BETWEEN;
  const response = await fetch(`${url}/v1/diff`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ feature_view: 'job', from, to }),
  });
  expect(out).toBe(await response.text());
  expect(code).toBe(0);
});

test('diff passes on all that is asked', async () => {
  const url = await serverWithHistory();
  const asked =
    `diff job ${BETWEEN.join(' ')} --min-distance 1.5 --boundary exclusive --knowledge input ` +
    `--known-at ${MARCH} --max-age P90D --version v1 --at-snapshot 7 --json --url ${url}`;
  const { out } = await run(asked.split(' '));
  expect(JSON.parse(out.trimEnd().split('\n').at(-1)!)).toMatchObject({
    __summary: {
      version: 'v1',
      snapshot: 7,
      changed: 1,
      below_min_distance: 1,
      question: {
        boundary: 'exclusive',
        knowledge: 'input',
        known_at: MARCH,
        max_age: 'P90D',
        min_distance: 1.5,
      },
    },
  });
});

test('diff of nothing that differs is a line', async () => {
  const url = await serverWithHistory();
  const asked = ['diff', 'job', '--from', MARCH, '--to', MARCH, '--url', url];
  const { code, out } = await run(asked);
  expect(out).toMatch(/: of 3 entities 0 added, 0 removed, 0 changed, 3 unchanged\n$/);
  expect(code).toBe(0);
});

test('a table has the first hundred, and the JSON has all', async () => {
  const { url } = await startServer();
  const stdin = Array.from({ length: 130 }, (_, at) => line(`e${at}`, MARCH, [at, 1]));
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin });
  const table = await run(['diff', 'job', ...BETWEEN, '--url', url]);
  expect(table.out.match(/added +NOT_FOUND/g)).toHaveLength(100);
  expect(table.err).toBe('There are 30 more: --json has all of them.\n');
  const json = await run(['diff', 'job', ...BETWEEN, '--json', '--url', url]);
  expect(json.out.trimEnd().split('\n')).toHaveLength(131);
});

test.each([
  ['without its moments', ['diff', 'job']],
  ['of a distance that there is not', ['diff', 'job', ...BETWEEN, '--min-distance', '3']],
  ['of a time without an offset', ['diff', 'job', '--from', '2026-01-01', '--to', MARCH]],
])('a diff %s is wrong usage', async (_what, args) => {
  expect((await run(args)).code).toBe(2);
});

const DIFFERENCE = '{"entity_id":"a","change":"added"}\n';
const ERROR = '{"__error":{"status":422,"code":"BAD_REQUEST","detail":"too far back"}}\n';

/** A server whose diffs are these bytes, after which it cuts the connection, or does not. */
async function startServing(bytes: string, isCut: boolean): Promise<string> {
  const server = createServer((_request, response) => {
    response.write(bytes, () => (isCut ? response.destroy() : response.end()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each([
  ['that breaks off says why', DIFFERENCE + ERROR, true, 'BAD_REQUEST: too far back'],
  ['that is cut is no answer', DIFFERENCE, true, 'half a diff'],
  ['without a summary is no answer', DIFFERENCE, false, 'half a diff'],
  ['of something else is no answer', '<html>\n', false, 'half a diff (Unexpected token'],
  ['of nothing is no answer', '', false, 'half a diff'],
])('a diff %s, and ends with 3', async (_what, bytes, isCut, message) => {
  const url = await startServing(bytes, isCut);
  const { code, err } = await run(['diff', 'job', ...BETWEEN, '--json', '--url', url]);
  expect([code, err]).toEqual([3, expect.stringContaining(message)]);
});
