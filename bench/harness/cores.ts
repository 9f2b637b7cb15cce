import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

import { requireTool } from './tools.ts';

/** Who is asked has the first core, or as many as it has workers; who asks has the last one. */
export function serverCores(workers = 0): string {
  const most = Math.max(1, cpus().length - 1);
  return workers < 2 ? '0' : `0-${Math.min(most, workers) - 1}`;
}

export const LOAD_CORE = `${cpus().length - 1}`;

/** The command line that runs only on those cores, such as `0-2`. */
export function pinned(cores: string, command: string, args: readonly string[]): string[] {
  requireTool('taskset', 'util-linux');
  return ['taskset', '--cpu-list', cores, command, ...args];
}

/** Keeps this process, all its threads, and what it starts from now on, to the core of who asks. */
export function pinLoad(): void {
  requireTool('taskset', 'util-linux');
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', LOAD_CORE, `${process.pid}`], {
    stdio: 'ignore',
  });
}

/** For the page. */
export function coresText(workers = 0): string {
  return `Who is asked has core ${serverCores(workers)}, who asks has core ${LOAD_CORE} (taskset), of ${cpus().length}.`;
}
