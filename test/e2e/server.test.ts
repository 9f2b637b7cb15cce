import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { pythonWith, runPython } from '../python.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
const VIEW = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 4, dtype: 'float32' };

function serve(data: string): { status: number | null; stderr: string } {
  const run = spawnSync(process.execPath, [MAIN, 'serve', '--data', data, '--port', '0'], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status: run.status, stderr: run.stderr };
}

function push(server: ServerProcess, from: number, count: number): Promise<unknown> {
  return server.ask('POST', '/v1/push', {
    feature_view: 'job',
    records: Array.from({ length: count }, (_, at) => ({
      entity_id: `job-${from + at}`,
      event_timestamp: '2026-01-01T00:00:00Z',
      vector: [from + at, 0.1, 0.2, 0.3],
    })),
  });
}

test(
  'SIGTERM answers what was asked, exits with 0, and leaves everything on the disk',
  { timeout: 30_000 },
  async () => {
    const data = tempDirectory();
    const server = await ServerProcess.start(data);
    await server.ask('PUT', '/v1/feature-views/job', VIEW);
    const pushes = Array.from({ length: 20 }, (_, at) => push(server, at * 500, 500));
    await Promise.race(pushes);
    const [code, ...answers] = await Promise.all([
      server.terminate(),
      ...pushes.map((each) => each.then(() => 'stored').catch(() => 'refused')),
    ]);
    expect(code).toBe(0);
    const again = await ServerProcess.start(data);
    const { results } = await again.ask<{ results: { statuses: string[] }[] }>(
      'POST',
      '/v1/lookup',
      {
        lookups: [
          {
            feature_view: 'job',
            entity_ids: Array.from({ length: 20 }, (_, at) => `job-${at * 500}`),
          },
        ],
      },
    );
    answers.forEach((answer, at) => {
      if (answer === 'stored') expect(results[0]!.statuses[at]).toBe('PRESENT');
    });
    expect(await again.terminate()).toBe(0);
  },
);

test('a second server on the same data is refused with a clear message, and a kill -9 of the first lets it in', async () => {
  const data = tempDirectory();
  const first = await ServerProcess.start(data);
  const refused = serve(data);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain('STORE_LOCKED');
  expect(refused.stderr).toContain(`pid ${first.child.pid}`);
  await first.kill();
  const second = await ServerProcess.start(data);
  expect((await second.send('GET', '/readyz')).status).toBe(200);
});

test('data of another format version is refused with what to do', () => {
  const data = tempDirectory();
  writeFileSync(join(data, 'tidemark.json'), '{"format_version": 99}');
  const { status, stderr } = serve(data);
  expect(status).toBe(2);
  expect(stderr).toContain('written by a newer Tidemark');
});

const PYTHON = `
import json, sys, urllib.request
import numpy
from safetensors.numpy import load
question = {"lookups": [{"feature_view": "job", "entity_ids": ["job-7", "none", "job-3"]}]}
request = urllib.request.Request(sys.argv[1] + "/v1/lookup", json.dumps(question).encode(),
    {"content-type": "application/json", "accept": "application/vnd.safetensors"})
tensors = load(urllib.request.urlopen(request).read())
vectors = tensors["job.vector"]
print(json.dumps({
    "shape": vectors.shape, "dtype": str(vectors.dtype),
    "first": vectors[:, 0][[0, 2]].tolist(), "miss": bool(numpy.isnan(vectors[1]).all()),
    "statuses": tensors["job.status"].tolist(),
    "event": int(tensors["job.event_timestamp"][0]),
}))
`;

test('a Python client reads a lookup as one matrix, with a status and a time a row', async () => {
  const python = await pythonWith(['numpy==2.4.6', 'safetensors==0.8.0']);
  const server = await ServerProcess.start(tempDirectory());
  await server.ask('PUT', '/v1/feature-views/job', VIEW);
  await push(server, 0, 10);
  expect(JSON.parse(await runPython(python, ['-c', PYTHON, server.url]))).toEqual({
    shape: [3, 4],
    dtype: 'float32',
    first: [7, 3],
    miss: true,
    statuses: [0, 1, 0],
    event: Date.UTC(2026, 0, 1) * 1_000,
  });
});
