import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Server as Program } from '../harness/server.ts';
import type { JoinData } from './data.ts';
import { THREADS } from './threads.ts';

const POLL_MS = 10;

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
  readonly pid: number;
  readonly url: string;
  private program: Program;
  private data: string;

  private constructor(program: Program, data: string) {
    this.program = program;
    this.pid = program.pid;
    this.url = program.url;
    this.data = data;
  }

  /** `settings`: those of exports, over the defaults. */
  static async start({ folder, store }: JoinData, settings: object = {}): Promise<Server> {
    const exports = { spine_directories: [folder], threads: THREADS, ...settings };
    // Lookups beside exports are timed, however long they wait.
    const limits = { max_wait_ms: 0 };
    const program = await Program.start({ folder, data: store, settings: { exports, limits } });
    return new Server(program, store);
  }

  /** A training join of a spine on the server's disk, from the request until it is done. */
  async export(spine: string, options: ExportOptions = {}): Promise<ExportRun> {
    const start = performance.now();
    let status = await this.program.ask<Status>('POST', '/v1/exports', {
      spine: { path: spine },
      feature_views: 'job',
      knowledge: 'event',
      format: 'parquet',
      ...options,
    });
    while (status.state === 'queued' || status.state === 'running') {
      await sleep(POLL_MS);
      status = await this.program.ask<Status>('GET', `/v1/exports/${status.id}`);
    }
    const seconds = (performance.now() - start) / 1_000;
    const { id } = status;
    if (status.state !== 'done') throw new Error(`export ${id}: ${JSON.stringify(status)}`);
    const { bytes, files } = await this.program.ask<Manifest>('GET', `/v1/exports/${id}/manifest`);
    const [shards, parts] = [true, false].map((isShard) =>
      files
        .filter(({ feature_view }) => (feature_view !== undefined) === isShard)
        .map(({ path }) => join(this.data, 'exports', id, path)),
    ) as [string[], string[]];
    return { id, seconds, bytes, parts, shards };
  }

  async remove({ id }: ExportRun): Promise<void> {
    await this.program.ask('DELETE', `/v1/exports/${id}`);
  }

  async close(): Promise<void> {
    await this.program.close();
  }
}
