import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import type { JoinData } from './data.ts';
import { THREADS } from './peer.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
const POLL_MS = 10;
/** Of its log. */
const IS_ERROR = /"level":[56]0/;

/** How the answer is asked for; what is not named is the server's default. */
export interface ExportOptions {
  vectors?: 'inline' | 'ref';
  order?: 'spine' | 'entity';
  vector_format?: 'parquet' | 'safetensors';
}

export interface ExportRun {
  id: string;
  /** From the request to the answer that says done, as a client sees it. */
  seconds: number;
  bytes: number;
  /** Of the parts, in their order, and of the tables of vectors: absolute paths. */
  parts: string[];
  shards: string[];
}

interface Status {
  id: string;
  state: string;
}

interface Manifest {
  bytes: number;
  files: { path: string; feature_view?: string }[];
}

/** Tidemark as it is run, with spines on its own disk. */
export class Server {
  readonly url: string;
  readonly pid: number;
  private child: ChildProcess;
  private data: string;

  private constructor(url: string, child: ChildProcess, data: string) {
    this.url = url;
    this.child = child;
    this.pid = child.pid!;
    this.data = data;
  }

  /** `settings`: those of exports, over the defaults. */
  static async start({ folder, store }: JoinData, settings: object = {}): Promise<Server> {
    const config = join(folder, 'tidemark.yaml');
    // JSON is YAML.
    const exports = { spine_directories: [folder], threads: THREADS, ...settings };
    await writeFile(config, JSON.stringify({ data: store, port: 0, exports }));
    const child = spawn(process.execPath, [MAIN, 'serve', '--config', config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // A benchmark that fails leaves no server behind.
    process.once('exit', () => child.kill());
    const started = Promise.withResolvers<string>();
    createInterface({ input: child.stdout })
      .on('line', (line) => {
        const url = /"url":"([^"]+)"/.exec(line)?.[1];
        if (url !== undefined) started.resolve(url);
        if (IS_ERROR.test(line)) console.error(line);
      })
      .on('close', () => started.reject(new Error('the server has ended')));
    const url = await started.promise;
    return new Server(url, child, store);
  }

  /** A training join of a spine on the server's disk, from the request until it is done. */
  async export(spine: string, options: ExportOptions = {}): Promise<ExportRun> {
    const start = performance.now();
    let status = await this.ask<Status>('POST', '/v1/exports', {
      spine: { path: spine },
      feature_views: 'job',
      knowledge: 'event',
      format: 'parquet',
      ...options,
    });
    while (status.state === 'queued' || status.state === 'running') {
      await sleep(POLL_MS);
      status = await this.ask<Status>('GET', `/v1/exports/${status.id}`);
    }
    const seconds = (performance.now() - start) / 1_000;
    const { id } = status;
    if (status.state !== 'done') throw new Error(`export ${id}: ${JSON.stringify(status)}`);
    const { bytes, files } = await this.ask<Manifest>('GET', `/v1/exports/${id}/manifest`);
    const [shards, parts] = [true, false].map((isShard) =>
      files
        .filter(({ feature_view }) => (feature_view !== undefined) === isShard)
        .map(({ path }) => join(this.data, 'exports', id, path)),
    ) as [string[], string[]];
    return { id, seconds, bytes, parts, shards };
  }

  async remove({ id }: ExportRun): Promise<void> {
    await this.ask('DELETE', `/v1/exports/${id}`);
  }

  async close(): Promise<void> {
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
  }

  private async ask<T>(method: string, path: string, body?: object): Promise<T> {
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
}
