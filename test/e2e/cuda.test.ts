import { existsSync } from 'node:fs';

import { expect, onTestFinished, test } from 'vitest';

import { openModel } from '../../src/ingest/inference/models.ts';
import { OnnxEmbedder } from '../../src/ingest/inference/onnx-embedder.ts';
import type { Provider } from '../../src/ingest/inference/session.ts';
import { tempDirectory } from '../support/temp.ts';

const TEXTS = ['Night nurse in Bern', 'Baker', 'Baker and pastry cook, Biel', 'x'];

/** A card and its driver; ONNX Runtime's CUDA libraries are for whoever runs this to install. */
const hasGpu = existsSync('/dev/nvidia0');

async function embed(provider: Provider): Promise<Float32Array> {
  const embedder = await OnnxEmbedder.start(await openModel(tempDirectory(), 'hashing'), {
    provider,
  });
  onTestFinished(async () => embedder.close());
  return embedder.embed(TEXTS);
}

test.skipIf(!hasGpu)('a GPU gives the vectors that a CPU gives', async () => {
  const [cuda, cpu] = [await embed('cuda'), await embed('cpu')];
  const dim = cpu.length / TEXTS.length;
  for (let row = 0; row < TEXTS.length; row++) {
    let cosine = 0;
    for (let at = row * dim; at < (row + 1) * dim; at++) cosine += cuda[at]! * cpu[at]!;
    expect(cosine).toBeGreaterThan(0.999);
  }
});

test.skipIf(hasGpu)(
  'a provider that cannot be had is refused at the start, and not replaced by another',
  async () => {
    await expect(embed('cuda')).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  },
);
