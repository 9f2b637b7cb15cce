import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { onTestFinished } from 'vitest';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

/** The server as people run it: another process. Killed when the test is done. */
export class ServerProcess {
  readonly url: string;
  readonly data: string;
  readonly child: ChildProcess;

  private constructor(url: string, data: string, child: ChildProcess) {
    this.url = url;
    this.data = data;
    this.child = child;
  }

  /** Starts it on a free port, in that folder if one is named, and waits until it says that it serves. */
  static async start(
    data: string,
    more: readonly string[] = [],
    cwd = process.cwd(),
  ): Promise<ServerProcess> {
    const child = spawn(
      process.execPath,
      [MAIN, 'serve', '--data', data, '--port', '0', '--host', '127.0.0.1', ...more],
      { stdio: ['ignore', 'pipe', 'pipe'], cwd },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    const said: string[] = [];
    child.stderr.on('data', (bytes: Buffer) => said.push(bytes.toString()));
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line);
      const url = /"url":"([^"]+)"/.exec(line)?.[1];
      if (url !== undefined) return new ServerProcess(url, data, child);
    }
    throw new Error(`the server did not start:\n${said.join('\n')}`);
  }

  /** Ends it as a power cut ends a process: it has no say in it. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await once(this.child, 'exit');
    }
  }

  /** Asks it to stop; its exit code. */
  async terminate(): Promise<number | null> {
    this.child.kill('SIGTERM');
    const [code] = (await once(this.child, 'exit')) as [number | null];
    return code;
  }

  /** Sends JSON; the answer's status and body. */
  async send(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: unknown }> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    });
    return { status: answer.status, body: await answer.json() };
  }

  /** Sends JSON and gives the body of a good answer; throws for another. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.send(method, path, body);
    if (answer.status >= 300) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return answer.body as T;
  }
}
