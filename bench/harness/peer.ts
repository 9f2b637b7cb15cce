import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { atEnd } from './at-end.ts';

/** What one run of a peer says of itself. */
export interface PeerRun {
  seconds: number;
  /** What was found, of one that writes no files. */
  found?: string;
}

/** A program in a process of its own that does its work once a line, as a server that stays. */
export class Peer {
  readonly pid: number;
  private child: ChildProcess;
  private lines: AsyncIterator<string>;
  private callOff: () => void;

  /** `environment`: beside that of the benchmark. */
  constructor(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    this.pid = this.child.pid!;
    // It would notice after its turn that nobody listens.
    this.callOff = atEnd(() => this.child.kill('SIGKILL'));
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** Gives it the line, and waits for its answer. */
  async run<Run = PeerRun>(line: string): Promise<Run> {
    this.child.stdin!.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (done === true) throw new Error(`${this.child.spawnargs.join(' ')} ended`);
    return JSON.parse(value) as Run;
  }

  async close(): Promise<void> {
    this.child.stdin!.end();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await once(this.child, 'exit');
    }
    this.callOff();
  }
}
