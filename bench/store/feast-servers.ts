import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { runPython } from '../../test/python.ts';
import { startChild } from '../harness/child.ts';
import { freePort, startRedis } from '../harness/redis.ts';

/** Feast with what its feature server needs, and all that its speed can depend on. */
export const FEAST_SERVING_PACKAGES = [
  'feast[redis]==0.67.0',
  'dask==2026.8.0',
  'fastapi==0.165.0',
  'gunicorn==27.0.1',
  'hiredis==3.5.0',
  'numpy==2.4.6',
  'pandas==2.3.3',
  'protobuf==7.36.2',
  'pyarrow==26.0.1',
  'redis==7.4.1',
  'uvicorn==0.54.0',
];

const MAKE = join(import.meta.dirname, 'feast_online.py');

/** A feature server that answers for `job`. */
export interface FeastServer {
  name: string;
  pid: number;
  url: string;
  close(): Promise<void>;
}

interface Repository {
  python: string;
  folder: string;
  /** A file of float32 vectors, one after another by number. */
  vectors: string;
  dim: number;
  cores: string;
}

export async function feastOnSqlite(repository: Repository): Promise<FeastServer> {
  const folder = join(repository.folder, 'feast-sqlite');
  const store = { type: 'sqlite', path: join(folder, 'online.db') };
  const server = await serve(repository, folder, store);
  return { name: 'Feast, SQLite', ...server };
}

export async function feastOnRedis(repository: Repository): Promise<FeastServer> {
  const folder = join(repository.folder, 'feast-redis');
  const redis = await startRedis(repository.folder, repository.cores);
  const store = { type: 'redis', connection_string: `127.0.0.1:${redis.port}` };
  const server = await serve(repository, folder, store);
  return {
    name: 'Feast, Redis',
    ...server,
    async close() {
      await server.close();
      await redis.close();
    },
  };
}

async function serve(
  { python, vectors, dim, cores }: Repository,
  folder: string,
  store: object,
): Promise<Omit<FeastServer, 'name'>> {
  await mkdir(folder);
  await runPython(python, [MAKE, folder, JSON.stringify(store), vectors, `${dim}`]);
  const port = `${await freePort()}`;
  // It would start its worker anew after a thousand requests.
  const settings = ['--no-access-log', '--max-requests', '0', '--max-requests-jitter', '0'];
  const serving = ['-m', 'feast.cli.cli', '-c', folder, 'serve', '--port', port, ...settings];
  const child = await startChild({
    command: 'sh',
    // It says on its standard error that it is ready.
    args: ['-c', 'exec "$0" "$@" 2>&1', python, ...serving],
    cores,
    ready: /Application startup complete/,
  });
  return { ...child, url: `http://127.0.0.1:${port}` };
}
