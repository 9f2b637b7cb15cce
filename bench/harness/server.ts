import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type Child, startChild } from './child.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
/** Of its log. */
const IS_ERROR = /"level":[56]0/;

export interface ServerOptions {
  /** For its configuration. */
  folder: string;
  /** Its data directory. */
  data: string;
  /** Settings as in tidemark.yaml, over the defaults. */
  settings?: object;
  /** Words after `serve`. */
  args?: readonly string[];
  cores?: string;
  /** The command line that runs another one within limits. */
  within?: (command: string, args: readonly string[]) => [string, string[]];
}

/** Tidemark as it is run: the whole program in a process of its own. */
export class Server {
  readonly url: string;
  readonly pid: number;
  private child: Child;

  private constructor(child: Child) {
    this.child = child;
    this.url = child.ready[1]!;
    this.pid = child.pid;
  }

  static async start({
    folder,
    data,
    settings = {},
    args = [],
    cores,
    within = (command, words) => [command, [...words]],
  }: ServerOptions): Promise<Server> {
    const config = join(folder, 'tidemark.yaml');
    // JSON is YAML.
    await writeFile(config, JSON.stringify({ data, port: 0, ...settings }));
    const [command, words] = within(process.execPath, [MAIN, 'serve', '--config', config, ...args]);
    const child = await startChild({
      command,
      args: words,
      ...(cores !== undefined && { cores }),
      ready: /"url":"([^"]+)"/,
      onLine: (line) => {
        if (IS_ERROR.test(line)) console.error(line);
      },
    });
    return new Server(child);
  }

  /** Throws for what is not an answer in 2xx; undefined for one without a body. */
  async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async close(): Promise<void> {
    await this.child.close();
  }
}
