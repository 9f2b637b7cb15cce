import { existsSync } from 'node:fs';

import { expect, onTestFinished, test } from 'vitest';

import { openModel } from '../../src/ingest/inference/models.ts';
import type { Provider } from '../../src/ingest/inference/session.ts';
import { startEmbedder, vectorsOf } from '../support/embedder.ts';
import { tempDirectory } from '../support/temp.ts';

const TEXTS = ['Night nurse in Bern', 'Baker', 'Baker and pastry cook, Biel', 'x'];

/** A card and its driver; the provider is for whoever runs this to install: tidemark model cuda. */
const hasGpu = existsSync('/dev/nvidia0');

async function embed(provider: Provider): Promise<Float32Array[]> {
  const embedder = await startEmbedder(await openModel(tempDirectory(), 'hashing'), {
    provider,
  });
  onTestFinished(async () => embedder.close());
  return vectorsOf(embedder, TEXTS);
}

test.skipIf(!hasGpu)('a GPU gives the vectors that a CPU gives', async () => {
  const [cuda, cpu] = [await embed('cuda'), await embed('cpu')];
  for (const [row, vector] of cuda.entries()) {
    const cosine = vector.reduce((sum, value, at) => sum + value * cpu[row]![at]!, 0);
    expect(cosine).toBeGreaterThan(0.999);
  }
});

test.skipIf(hasGpu)(
  'a provider that cannot be had is refused at the start, and not replaced by another',
  async () => {
    await expect(embed('cuda')).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  },
);
