import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { expect, test } from 'vitest';

const HARNESS = new URL('../../bench/harness/', import.meta.url);
/** A benchmark with a folder, and a program that has started another one, which does not end by itself. */
const BENCHMARK = `
  import { startChild } from '${HARNESS.href}child.ts';
  import { newFolder } from '${HARNESS.href}folder.ts';
  const folder = newFolder();
  const script = 'sleep 60 & echo "ready $!"; wait';
  const child = await startChild({ command: 'sh', args: ['-c', script], ready: /ready (.*)/ });
  console.log(JSON.stringify({ folder, pids: [child.pid, Number(child.ready[1])] }));
`;

test.each(['SIGINT', 'SIGTERM'] as const)(
  'a benchmark that is broken off by %s leaves no folder and no program behind',
  async (signal) => {
    const run = spawn(process.execPath, ['--input-type=module', '-e', BENCHMARK], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(run, 'exit');
    const lines = createInterface({ input: run.stdout })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    const { folder, pids } = JSON.parse(value!) as { folder: string; pids: [number, number] };
    expect([existsSync(folder), ...pids.map(isAlive)]).toEqual([true, true, true]);
    run.kill(signal);
    expect(await ended).toEqual([1, null]);
    await expect
      .poll(() => [existsSync(folder), ...pids.map(isAlive)], { timeout: 10_000 })
      .toEqual([false, false, false]);
  },
);

/** One that has ended and whom nobody has asked for its end has no command line. */
function isAlive(pid: number): boolean {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) && readFileSync(path, 'utf8') !== '';
}
