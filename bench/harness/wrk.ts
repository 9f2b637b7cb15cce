import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { LOAD_CORE, pinned } from './cores.ts';
import type { Load } from './load.ts';
import { requireTool } from './tools.ts';

const SCRIPT = join(import.meta.dirname, 'wrk.lua');
const run = promisify(execFile);

interface WrkLoad {
  url: string;
  method: 'GET' | 'POST';
  accept: string;
  /** What `requestLines` wrote. */
  requests: string;
  flight: number;
  seconds: number;
}

interface Told {
  requests: number;
  micros: number;
  failed: number;
  /** µs */
  p50: number;
  p99: number;
  most: number;
}

/** A file of requests that wrk sends in turn. */
export function requestLines(requests: readonly { path: string; body?: string }[]): string {
  return requests.map(({ path, body = '' }) => `${path}\t${body}\n`).join('');
}

/** wrk, one thread on the core of who asks. Throws where an answer failed. */
export async function wrk({
  url,
  method,
  accept,
  requests,
  flight,
  seconds,
}: WrkLoad): Promise<Load> {
  requireTool('wrk', 'wrk');
  const load = ['-t', '1', '-c', `${flight}`, '-d', `${seconds}s`, '--timeout', '10s'];
  const script = ['-s', SCRIPT, url, '--', method, accept, requests];
  const [command, ...args] = pinned(LOAD_CORE, 'wrk', [...load, ...script]) as [
    string,
    ...string[],
  ];
  const { stdout } = await run(command, args);
  const told = JSON.parse(stdout.split('\n').findLast((line) => line.startsWith('{'))!) as Told;
  if (told.failed > 0) throw new Error(`${told.failed} requests of wrk failed at ${url}`);
  const elapsed = told.micros / 1e6;
  return {
    count: told.requests,
    rate: told.requests / elapsed,
    p50: told.p50 / 1_000,
    p99: told.p99 / 1_000,
    most: told.most / 1_000,
  };
}
