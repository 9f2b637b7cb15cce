import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { LOAD_CORE, pinned } from './cores.ts';
import type { Load } from './load.ts';
import { requireTool } from './tools.ts';

const run = promisify(execFile);

interface RedisLoad {
  port: number;
  flight: number;
  /** Requests in all. */
  count: number;
  /** `__rand_int__` in keys becomes a number below this, of twelve digits. */
  keys: number;
  command: readonly string[];
}

/** What becomes of `__rand_int__`. */
export function randomKey(prefix: string, number: number): string {
  return `${prefix}${String(number).padStart(12, '0')}`;
}

/** redis-benchmark, one thread on the core of who asks. */
export async function redisBenchmark({
  port,
  flight,
  count,
  keys,
  command,
}: RedisLoad): Promise<Load> {
  requireTool('redis-benchmark', 'redis-tools');
  const numbers = ['-p', port, '-c', flight, '-n', count, '-r', keys].map(String);
  const [program, ...args] = pinned(LOAD_CORE, 'redis-benchmark', [
    ...numbers,
    '--csv',
    ...command,
  ]) as [string, ...string[]];
  const { stdout } = await run(program, args);
  // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95…","p99…","max…"
  const cells = stdout.trim().split('\n').at(-1)!.split('","');
  const [rate, , , p50, , p99, most] = cells.slice(1).map((cell) => Number.parseFloat(cell));
  return { count, rate: rate!, p50: p50!, p99: p99!, most: most! };
}
