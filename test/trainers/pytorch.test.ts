import { join } from 'node:path';

import { expect, it } from 'vitest';

import { pythonWith } from '../python.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';
import { runPages, Workplace } from '../support/workplace.ts';

/**
 * PyPI has no other build of PyTorch for Linux on x86 than the one for CUDA, and without CUDA's
 * libraries it does not load: 3 GB to fetch and 6 GB on the disk.
 */
const PACKAGES = [...TRAINER_PACKAGES, 'torch==2.15.0'];
const MAPPED = join(import.meta.dirname, 'mapped.py');
const DIM = 768;
const JOBS = 20_000;
const PUSHED = 1_000;
const MOMENT = '2026-01-01T00:00:00Z';

it('what the docs say of training with PyTorch is so', async () => {
  const python = await pythonWith(PACKAGES);
  const compared = await runPages(await Workplace.start(), python, ['README.md', 'pytorch.md']);
  expect(compared).toEqual({ 'README.md': 0, 'pytorch.md': 1 });
});

it('the PyTorch dataset reads the files themselves, in all its processes', async () => {
  const python = await pythonWith(PACKAGES);
  // Five parts, each with vectors that no part before it has.
  const place = await Workplace.start(8_000);
  const { server } = place;
  const view = { entity: 'job', join_key: 'job_id', version: 'v1', dim: DIM, dtype: 'float32' };
  await server.ask('PUT', '/v1/feature-views/job', view);
  for (let from = 0; from < JOBS; from += PUSHED) {
    const records = Array.from({ length: PUSHED }, (_, at) => ({
      entity_id: `${from + at}`,
      event_timestamp: MOMENT,
      vector: vectorOf(from + at).toString('base64'),
    }));
    await server.ask('POST', '/v1/push', { feature_view: 'job', known: 'event', records });
  }
  expect(JSON.parse(await place.run(python, [MAPPED, String(JOBS), String(DIM)]))).toEqual({
    shards: 5,
    rows: 2 * JOBS,
    bytes: JOBS * DIM * 4,
  });
});

/** The vector of a job: its number, and the places of the numbers. */
function vectorOf(job: number): Buffer {
  return Buffer.from(Float32Array.from({ length: DIM }, (_, at) => job + at / DIM).buffer);
}
