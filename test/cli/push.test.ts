import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { line, startServer } from './server.ts';

test('records from a file are counted by what became of them, and again as duplicates', async () => {
  const { url } = await startServer();
  const file = join(tempDirectory(), 'records.ndjson');
  writeFileSync(
    file,
    [
      line('a', '2026-03-01T00:00:00Z', [1, 0]),
      line('a', '2026-02-01T00:00:00Z', [0, 1]),
      line('b', '2026-03-01T00:00:00Z', null),
    ].join(''),
  );
  const first = await run(['push', 'job', file, '--url', url]);
  expect(first.err).toBe('');
  expect(first.out).toMatch(
    /^3 records to job: 2 latest, 1 history, 0 duplicate, 0 rejected; snap/,
  );
  expect(first.code).toBe(0);
  const again = await run(['push', 'job', file, '--url', url, '--json']);
  expect(JSON.parse(again.out)).toMatchObject({
    feature_view: 'job',
    records: 3,
    latest: 0,
    history: 0,
    duplicate: 3,
    rejected: 0,
  });
  expect(again.code).toBe(0);
});

test('rejected lines are told by their number, and the command ends with 1', async () => {
  const { url } = await startServer();
  const good = Array.from({ length: 1_500 }, (_, i) =>
    line(`e${i}`, '2026-03-01T00:00:00Z', [i, 1]),
  );
  good[4] = 'not json\n';
  good[1_200] = line('x', '2026-03-01T00:00:00', [1, 2]);
  good[1_300] = line('x', '2026-03-01T00:00:00Z', [1, 2, 3]);
  const stdin = ['\n', ...good];
  const { code, out, err } = await run(['push', 'job', '-', '--url', url], { stdin });
  const lines = err.trimEnd().split('\n');
  expect(lines.map((text) => text.split(':').slice(0, 2).join(':'))).toEqual([
    'line 6: BAD_RECORD',
    'line 1202: BAD_TIMESTAMP',
    'line 1302: BAD_VECTOR',
  ]);
  expect(out).toContain('1500 records to job: 1497 latest, 0 history, 0 duplicate, 3 rejected');
  expect(code).toBe(1);
  const json = await run(['--json', 'push', 'job', '--url', url], { stdin });
  expect(
    json.err
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text).line),
  ).toEqual([6, 1202, 1302]);
  expect(JSON.parse(json.out)).toMatchObject({ duplicate: 1_497, rejected: 3 });
});

test('a history is pushed as it was known then', async () => {
  const { url } = await startServer();
  const stdin = [line('a', '2026-03-01T00:00:00Z', [1, 0])];
  await run(['push', 'job', '--known', 'event', '--url', url], { stdin });
  const { out } = await run(['timeline', 'job', 'a', '--json', '--url', url]);
  expect(JSON.parse(out).revisions[0].known_timestamp).toBe('2026-03-01T00:00:00Z');
});

test('what was pushed before the server gave up is told', async () => {
  const { url } = await scripted((at) => (at === 0 ? { status: 200 } : { status: 500 }));
  const stdin = Array.from({ length: 1_001 }, (_, i) =>
    line(`e${i}`, '2026-03-01T00:00:00Z', [i, 1]),
  );
  const { code, out, err } = await run(['push', 'job', '--url', url], { stdin });
  expect(out).toContain('1000 records to job');
  expect(err).toContain('INTERNAL');
  expect(code).toBe(3);
});

test('a batch that the server has no room for is sent again', async () => {
  const { url, bodies } = await scripted((at) =>
    at === 0 ? { status: 429, retryAfter: '7' } : { status: 200 },
  );
  const waits: number[] = [];
  const stdin = [line('a', '2026-03-01T00:00:00Z', [1, 0])];
  const { code, err } = await run(['push', 'job', '--url', url], {
    stdin,
    sleep: async (ms) => void waits.push(ms),
  });
  expect(waits).toEqual([7_000]);
  expect(err).toContain('waiting 7000 ms');
  expect(bodies).toEqual([stdin[0], stdin[0]]);
  expect(code).toBe(0);
});

interface Scripted {
  status: number;
  retryAfter?: string;
}

/** A server that takes everything, or refuses as the script says for the n-th request. */
async function scripted(script: (at: number) => Scripted) {
  const bodies: string[] = [];
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, retryAfter } = script(bodies.length);
    const body = Buffer.concat(await Array.fromAsync(request)).toString();
    bodies.push(body);
    if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
    const latest = body.split('\n').length - 1;
    const taken = {
      feature_view: 'job',
      snapshot: 1,
      versions: { v1: { latest, history: 0, duplicate: 0 } },
      rejected: [],
    };
    const problem = { code: status === 429 ? 'OVERLOADED' : 'INTERNAL', detail: 'not now' };
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(status === 200 ? taken : problem));
  }
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies };
}
