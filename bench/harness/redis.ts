import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

import { type Child, startChild } from './child.ts';
import { requireTool } from './tools.ts';

export interface Redis extends Child {
  port: number;
}

/**
 * Redis from Debian on a loopback port, with its files in `folder`. It keeps nothing on the disk
 * unless `settings` say so: `['--appendonly', 'yes', '--appendfsync', 'always']`.
 */
export async function startRedis(
  folder: string,
  cores: string,
  settings: readonly string[] = [],
): Promise<Redis> {
  requireTool('redis-server', 'redis-server');
  const port = await freePort();
  const base = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  const child = await startChild({
    command: 'redis-server',
    args: [...base, ...settings],
    cores,
    ready: /Ready to accept connections/,
  });
  return { ...child, port };
}

/** Redis 7.0.15 */
export function redisText(): string {
  const said = execFileSync('redis-server', ['--version'], { encoding: 'utf8' });
  return `Redis ${/v=(\S+)/.exec(said)![1]}`;
}

/** One that nobody has at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
