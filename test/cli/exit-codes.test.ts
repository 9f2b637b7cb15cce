import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { explainFailure } from '../../src/cli/exit.ts';
import { AssertionFailed } from '../../src/ground/assert.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { startServer } from './server.ts';

const NOBODY = 'http://127.0.0.1:9';

test.each([
  [[], 'Usage: tidemark'],
  [['nosuch'], "unknown command 'nosuch'"],
  [['get', 'job'], "missing required argument 'ids'"],
  [['get', 'job', 'a', '--as-of', 'yesterday'], 'RFC 3339 with an offset'],
  [['get', 'job', 'a', '--as-of', '2026-03-01T00:00:00'], 'RFC 3339 with an offset'],
  [['get', 'job', 'a', '--knowledge', 'all'], 'event, input, served'],
  [['get', 'job', 'a', '--at-snapshot', '-1'], 'a whole number, 0 or more'],
  [['timeline', 'job', 'a', '--limit', '0'], 'a whole number, 1 or more'],
  [['push', 'job', '/no/such/file'], 'no such file'],
  [['views', '--url', 'localhost:8080'], 'expected http://HOST:PORT'],
  [['serve', '--port', 'abc'], 'port: got "abc"; expected a whole number from 0 to 65535'],
  [['serve', '--workers', 'x'], 'serving.workers: got "x"; expected a whole number from 0 to 64'],
  [['serve', '--workers', '-1'], 'serving.workers: got "-1"; expected a whole number from 0 to 64'],
  [['serve', '--workers', '65'], 'serving.workers: got 65; expected a whole number from 0 to 64'],
  [['verify', '--config', '/no/such/file'], 'BAD_CONFIG'],
  [['model', 'list', '--nosuch'], "unknown option '--nosuch'"],
])('wrong usage ends with 2: %j', async (args, message) => {
  const { code, out, err } = await run(args);
  expect(err).toContain(message);
  expect(out).toBe('');
  expect(code).toBe(2);
});

test('help and version are no errors, and help has the exit codes', async () => {
  const help = await run(['--help']);
  expect(help.code).toBe(0);
  for (const command of ['serve', 'demo', 'push', 'get', 'timeline', 'views', 'model', 'verify']) {
    expect(help.out).toMatch(new RegExp(`^  ${command} `, 'm'));
  }
  expect(help.out).toMatch(/Exit codes:\n {2}0/);
  const version = await run(['--version']);
  expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(version.code).toBe(0);
});

test('a server that is not there ends with 3, and the message says what to do', async () => {
  const { code, err } = await run(['views'], { env: { TIDEMARK_URL: NOBODY } });
  expect(err).toContain(`no answer from ${NOBODY}`);
  expect(err).toContain('tidemark serve');
  expect(code).toBe(3);
});

test('the url of the command line goes before that of the environment', async () => {
  const { url } = await startServer();
  const env = { TIDEMARK_URL: NOBODY };
  expect((await run(['--url', url, 'views'], { env })).code).toBe(0);
  expect((await run(['views', '--url', `${url}/`], { env })).code).toBe(0);
  expect((await run(['--url', NOBODY, 'views', '--url', url], { env })).code).toBe(0);
});

test('a view that is not there ends with 1, with the code of the problem', async () => {
  const { url } = await startServer();
  const { code, err } = await run(['get', 'nosuch', 'a', '--url', url]);
  expect(err).toContain('tidemark: VIEW_NOT_FOUND: ');
  expect(code).toBe(1);
  const version = await run(['get', 'job', 'a', '--version', 'v9', '--url', url]);
  expect(version.err).toContain('VERSION_NOT_FOUND');
  expect(version.code).toBe(1);
});

test('a request that the server refuses ends with 3', async () => {
  const { url } = await startServer();
  const { code, err } = await run([
    'get',
    'job',
    'a',
    '--at-snapshot',
    '999999999999',
    '--url',
    url,
  ]);
  expect(err).toContain('SNAPSHOT_UNAVAILABLE');
  expect(code).toBe(3);
});

test('something that is no Tidemark is told from one', async () => {
  const server = createServer((_request, response) => response.end('<html>hello</html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code, err } = await run(['views', '--url', url]);
  expect(err).toContain('is --url right?');
  expect(code).toBe(3);
});

test('a directory that is not one of data cannot be verified', async () => {
  const { code, err } = await run(['verify', '--data', join(tempDirectory(), 'nothing')]);
  expect(err).toContain('STORE_FORMAT');
  expect(code).toBe(2);
});

test("a defect of Tidemark's is told with where it happened", () => {
  const { code, message } = explainFailure(new AssertionFailed('one is not two'));
  expect(message).toMatch(/one is not two\n\s+at /);
  expect(code).toBe(70);
});
