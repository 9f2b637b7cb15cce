/**
 * Measures a model that bench/gpu/make.py wrote through Tidemark's batcher, on the provider that is
 * named: how near its vectors are to torch's, tokens per second, and how long one text and sixteen
 * at once of 512 tokens take. Writes tidemark.json beside the model, and prints the table.
 *
 *     node bench/gpu/run.ts <model folder> <cpu|cuda> [seconds] [tokens in a batch]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Registry } from 'prom-client';

import { Batcher } from '../../src/ingest/inference/batcher.ts';
import { EmbedMetrics } from '../../src/ingest/inference/metrics.ts';
import { loadModel } from '../../src/ingest/inference/model.ts';
import { OnnxBackend } from '../../src/ingest/inference/onnx-backend.ts';
import { probeProvider } from '../../src/ingest/inference/provider.ts';
import type { Provider } from '../../src/ingest/inference/session.ts';

const [, , folder = '', providerName = 'cuda', seconds = '20', batchTokens = '4096'] = process.argv;
const provider = providerName as Provider;
const paddedTokensMax = Number(batchTokens);

interface Latency {
  p50: number;
  p95: number;
  p99: number;
  runs: number;
}
interface Measured {
  device: string;
  tokens_per_second: number;
  latency_ms: Record<'1' | '16', Latency>;
}

const runsOn = await probeProvider(provider);
const model = await loadModel(folder);
const loading = performance.now();
const backend = await OnnxBackend.start(model, {
  provider,
  limits: { rowsMax: 64, paddedTokensMax },
});
const loadSeconds = (performance.now() - loading) / 1_000;
const batcher = new Batcher(backend, {
  queue: { texts: 1_000_000, tokens: 1_000_000_000 },
  now: () => performance.now(),
  metrics: new EmbedMetrics(new Registry()).of(model.manifest.name),
});
const texts = JSON.parse(readFileSync(join(folder, 'texts.json'), 'utf8')) as Record<
  'mixed' | 'long',
  string[]
>;
const torch = JSON.parse(readFileSync(join(folder, 'torch.json'), 'utf8')) as Measured;

const vectors = await embed(texts.mixed);
const cosines = cosinesWith(readFileSync(join(folder, 'torch.f32')), vectors, batcher.dim);
const tokens = texts.mixed.reduce((sum, text) => sum + text.split(' ').length, 0);
const rates: number[] = [];
for (const end = performance.now() + Number(seconds) * 1_000; performance.now() < end;) {
  const start = performance.now();
  await embed(texts.mixed);
  rates.push((tokens * 1_000) / (performance.now() - start));
}
const result = {
  ...runsOn,
  model: model.manifest.name,
  description: model.manifest.description,
  load_seconds: loadSeconds,
  batch_tokens: paddedTokensMax,
  least_cosine_with_torch: Math.min(...cosines),
  tokens,
  tokens_per_second: rates.toSorted((a, b) => a - b)[rates.length >> 1]!,
  rounds: rates.length,
  latency_ms: { '1': await latency(1), '16': await latency(16) },
};
await batcher.close();
writeFileSync(join(folder, 'tidemark.json'), `${JSON.stringify(result, undefined, 2)}\n`);
writeFileSync(join(folder, 'table.md'), table(result));
console.log(table(result));

async function embed(of: readonly string[]): Promise<Float32Array> {
  const { vectors: all, failures } = await batcher.embed(of, { lane: 'nearline' });
  for (const failure of failures.values()) throw failure;
  return all;
}

/** Of each row; both have the length 1. */
function cosinesWith(bytes: Buffer, ours: Float32Array, dim: number): number[] {
  const theirs = new Float32Array(new Uint8Array(bytes).buffer);
  return Array.from({ length: ours.length / dim }, (_, row) => {
    let dot = 0;
    for (let i = row * dim; i < (row + 1) * dim; i++) dot += ours[i]! * theirs[i]!;
    return dot;
  });
}

/** Of so many callers that come at once, each with one text: until the last one has its vector. */
async function latency(callers: number): Promise<Latency> {
  const times: number[] = [];
  const end = performance.now() + Number(seconds) * 1_000;
  for (let at = 0; times.length < 20 || performance.now() < end; at += callers) {
    const start = performance.now();
    const asks = Array.from(
      { length: callers },
      (_, i) => texts.long[(at + i) % texts.long.length]!,
    );
    await Promise.all(asks.map((text) => batcher.embed([text], { lane: 'rest' })));
    times.push(performance.now() - start);
  }
  const sorted = Float64Array.from(times).toSorted();
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => percentile(sorted, share));
  return { p50: p50!, p95: p95!, p99: p99!, runs: times.length };
}

function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

function shown({ p50, p95, p99 }: Latency): string {
  return [p50, p95, p99].map((ms) => ms.toFixed(1)).join(' / ');
}

function table(ours: Measured & typeof result): string {
  const line = (name: string, { tokens_per_second, latency_ms }: Measured): string => {
    return `| ${name} | ${Math.round(tokens_per_second)} | ${shown(latency_ms['1'])} | ${shown(latency_ms['16'])} |`;
  };
  return `${ours.description}

${ours.device}, ${ours.runtime}, ${ours.provider}; ${ours.batch_tokens} tokens a batch; least cosine with torch ${ours.least_cosine_with_torch.toFixed(6)}.

| | tokens/s | one text of 512 tokens, p50 / p95 / p99 ms | sixteen at once, p50 / p95 / p99 ms |
|---|---|---|---|
${line('torch, its own attention', torch)}
${line('Tidemark', ours)}

Tidemark has ${((100 * ours.tokens_per_second) / torch.tokens_per_second).toFixed(1)} % of torch's tokens/s.
`;
}
