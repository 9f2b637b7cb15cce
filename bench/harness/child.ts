import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { atEnd } from './at-end.ts';
import { pinned } from './cores.ts';

/** A program that was started, and is ended with the benchmark however that ends. */
export interface Child {
  pid: number;
  /** What the expression found in the line that says it is ready. */
  ready: RegExpExecArray;
  close(): Promise<void>;
}

interface Start {
  command: string;
  args: readonly string[];
  /** The cores that it has, such as `0`; all where none are named. */
  cores?: string;
  /** Finds the line of its output that says it is ready. */
  ready: RegExp;
  /** Hears all lines. */
  onLine?: (line: string) => void;
}

const LAST_LINES = 20;

/** Starts a program and waits until it says it is ready. Throws with its last lines if it ends. */
export async function startChild({ command, args, cores, ready, onLine }: Start): Promise<Child> {
  const words = cores === undefined ? [command, ...args] : pinned(cores, command, args);
  const child = spawn(words[0]!, words.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
    // It leads a group of processes, of all that it starts.
    detached: true,
  });
  const callOff = atEnd(() => killGroup(child));
  const started = Promise.withResolvers<RegExpExecArray>();
  const last: string[] = [];
  createInterface({ input: child.stdout })
    .on('line', (line) => {
      last.push(line);
      if (last.length > LAST_LINES) last.shift();
      const found = ready.exec(line);
      if (found !== null) started.resolve(found);
      onLine?.(line);
    })
    .on('close', () => started.reject(new Error(`${command} has ended:\n${last.join('\n')}`)));
  child.once('error', started.reject);
  const found = await started.promise;
  return {
    // taskset becomes the program that it starts.
    pid: child.pid!,
    ready: found,
    async close() {
      await stopped(child);
      callOff();
    },
  };
}

/** Also those whose parent has died. */
function killGroup({ pid }: ChildProcess): void {
  // Not even started.
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
