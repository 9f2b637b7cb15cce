import { Registry } from 'prom-client';

import { Batcher } from '../../src/ingest/inference/batcher.ts';
import type { Embedder } from '../../src/ingest/inference/embedder.ts';
import { EmbedMetrics } from '../../src/ingest/inference/metrics.ts';
import type { Model } from '../../src/ingest/inference/model.ts';
import { OnnxBackend, type OnnxSettings } from '../../src/ingest/inference/onnx-backend.ts';

/** A model at work, as a server has it. The caller closes it. */
export async function startEmbedder(model: Model, settings?: OnnxSettings): Promise<Embedder> {
  return new Batcher(await OnnxBackend.start(model, settings), {
    queue: { texts: 100_000, tokens: 10_000_000 },
    now: () => performance.now(),
    metrics: new EmbedMetrics(new Registry()).of(model.manifest.name),
  });
}

/** The vectors of texts that all have one. */
export async function vectorsOf(
  embedder: Embedder,
  texts: readonly string[],
): Promise<Float32Array[]> {
  const { vectors, failures } = await embedder.embed(texts, { lane: 'rest' });
  for (const failure of failures.values()) throw failure;
  return texts.map((_, row) => vectors.subarray(row * embedder.dim, (row + 1) * embedder.dim));
}
