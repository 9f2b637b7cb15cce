import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

import { expect, onTestFinished, test, vi } from 'vitest';

import { tempDirectory } from '../support/temp.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;

/** A server in a process of its own, and what it has said on stderr so far. */
function serve(...args: string[]): { child: ChildProcess; said: () => string } {
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, said: () => text };
}

/** The address that the server says it has. */
async function urlOf({ child, said }: ReturnType<typeof serve>): Promise<string> {
  for (;;) {
    const url = / at (http:\S+)\n/.exec(said())?.[1];
    if (url !== undefined) return url;
    await once(child.stderr!, 'data');
  }
}

async function exitCodeOf({ child }: ReturnType<typeof serve>): Promise<unknown> {
  if (child.exitCode === null) await once(child, 'exit');
  return child.exitCode;
}

test.each(['SIGTERM', 'SIGINT'] as const)('a server ends in order on %s', async (signal) => {
  const server = serve('--data', tempDirectory());
  const url = await urlOf(server);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  server.child.kill(signal);
  expect(await exitCodeOf(server)).toBe(0);
});

test('a server says that it is about to stop while it still answers, then ends', async () => {
  vi.stubEnv('TIDEMARK_LIMITS__DRAIN_SECONDS', '1');
  onTestFinished(() => void vi.unstubAllEnvs());
  const server = serve('--data', tempDirectory());
  const url = await urlOf(server);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  server.child.kill('SIGTERM');
  await vi.waitUntil(async () => (await fetch(`${url}/readyz`)).status === 503, { interval: 10 });
  expect((await fetch(`${url}/v1/feature-views`)).status).toBe(200);
  expect(await exitCodeOf(server)).toBe(0);
});

test('a second signal ends a server that still waits for a request', async () => {
  const server = serve('--data', tempDirectory());
  const url = new URL(await urlOf(server));
  const client = connect(Number(url.port), url.hostname);
  onTestFinished(() => void client.destroy());
  client.on('error', () => {});
  client.write('POST /v1/lookup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n');
  client.write('expect: 100-continue\r\ncontent-length: 100\r\n\r\n');
  // The server has read the head, and waits for the body.
  await once(client, 'data');
  server.child.kill('SIGTERM');
  while (await isListening(url));
  expect(server.child.exitCode).toBeNull();
  server.child.kill('SIGTERM');
  expect(await exitCodeOf(server)).toBe(128 + 15);
});

async function isListening(url: URL): Promise<boolean> {
  const probe = connect(Number(url.port), url.hostname);
  try {
    await once(probe, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    probe.destroy();
  }
}

test('a second server on the same directory says who has it, and ends with 2', async () => {
  const data = tempDirectory();
  const first = serve('--data', data);
  await urlOf(first);
  const second = serve('--data', data);
  expect(await exitCodeOf(second)).toBe(2);
  expect(second.said()).toContain(`STORE_LOCKED: the data directory ${data} is open`);
  expect(second.said()).toContain(`pid ${first.child.pid}`);
});

test('a wrong setting ends the server with 2 before it opens anything', async () => {
  const server = serve('--data', tempDirectory(), '--host', '');
  expect(await exitCodeOf(server)).toBe(2);
  expect(server.said()).toContain('BAD_CONFIG');
});

test('a server that cannot listen says in one line what to do, and nothing of a stop', async () => {
  const taken = serve('--data', tempDirectory());
  const { port } = new URL(await urlOf(taken));
  for (const [address, why] of [
    [['--port', port], `cannot listen on 127.0.0.1, port ${port} (EADDRINUSE): another program`],
    [['--host', '192.0.2.1'], '(EADDRNOTAVAIL): this machine does not have that address'],
    [['--host', 'no-such-host.invalid'], 'that name has no address'],
  ] as const) {
    const child = spawn(
      process.execPath,
      [MAIN, 'serve', '--port', '0', '--data', tempDirectory(), ...address],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    }
    await once(child, 'close');
    expect([child.exitCode, text.trimEnd().split('\n')]).toEqual([
      2,
      [expect.stringMatching(/^tidemark: BAD_CONFIG: /) as string],
    ]);
    expect(text).toContain(why);
  }
});
