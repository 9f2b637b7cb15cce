/**
 * Tokens per second of a model through the pipeline and its batcher, against a bare loop of
 * `session.run` over the same texts in batches of like length, with the same settings: once with
 * tokens that were made beforehand, once with the tokenizer in the loop. They take turns, so that
 * what else runs on the machine meets all. Run with `npm run bench -- inference -- minilm`.
 */
import { join } from 'node:path';

import { Tensor } from 'onnxruntime-node';
import { Registry } from 'prom-client';

import { Batcher } from '../../src/ingest/inference/batcher.ts';
import { EmbedMetrics } from '../../src/ingest/inference/metrics.ts';
import type { Model } from '../../src/ingest/inference/model.ts';
import { openModel } from '../../src/ingest/inference/models.ts';
import { OnnxBackend } from '../../src/ingest/inference/onnx-backend.ts';
import { pullModel } from '../../src/ingest/inference/pull.ts';
import { inputsOf, openSession } from '../../src/ingest/inference/session.ts';
import { openTokenizer } from '../../src/ingest/inference/tokenizer.ts';
import type { TokenizedText } from '../../src/ingest/inference/tokens.ts';
import { Pipeline } from '../../src/ingest/pipeline.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { printGround } from '../harness/ground.ts';
import { benchStore } from '../harness/jobs.ts';
import { seeded } from '../harness/random.ts';

const NAME = process.argv[2] ?? 'minilm';
const TEXTS = Number(process.argv[3] ?? 2_000);
const ROUNDS = 7;
const TITLES = [
  'Senior baker',
  'Night nurse',
  'Data engineer',
  'CDL-A truck driver',
  'Chef de partie',
];
const WORDS =
  'shift ledger bank nurse ward night kitchen pastry Kubernetes TypeScript PostgreSQL warehouse plan team benefits weekend remote hybrid Berlin Oslo Köln Montréal cardiology patients drivers route invoices quarterly responsible experience years degree certificate salary $1,850/week C++ development'.split(
    ' ',
  );
const BATCH_SIZES = [1, 2, 4, 8, 16, 32];
/** Records in a chunk, and partitions that are read at once, as a Kafka source has them. */
const CHUNK = 500;
const AT_ONCE = 4;

printGround();
const modelsDir = join(import.meta.dirname, '../../.cache/models');
const model =
  NAME === 'minilm' ? await pullModel(modelsDir, NAME) : await openModel(modelsDir, NAME);
const backend = await OnnxBackend.start(model);
const registry = new Registry();
const batcher = new Batcher(backend, {
  queue: { texts: 65_536, tokens: 262_144 },
  now: () => performance.now(),
  metrics: new EmbedMetrics(registry).of(NAME),
});
const { store, done } = benchStore(model.manifest.dim);
const session = await openSession(join(model.folder, model.manifest.graph), {
  threads: 1,
  provider: 'cpu',
});

const texts = postings(TEXTS);
const encoded = (await backend.encode(texts)) as TokenizedText[];
const tokens = encoded.reduce((sum, text) => sum + text.tokens, 0);
const lengths = encoded.map((text) => text.tokens).toSorted((a, b) => a - b);
console.log(
  `${NAME}: ${TEXTS} texts, ${tokens} tokens, a text has ${lengths[0]} to ${lengths.at(-1)}, ` +
    `the median ${lengths[TEXTS >> 1]}; one thread a run.\n`,
);

let best = { size: 0, rate: 0 };
for (const size of BATCH_SIZES) {
  const batches = bareBatches(model, encoded, size);
  await runBare(batches.slice(0, 3));
  const rate = tokens / (await runBare(batches));
  console.log(`bare, ${size} texts a batch: ${Math.round(rate)} tokens/s`);
  if (rate > best.rate) best = { size, rate };
}
const batches = bareBatches(model, encoded, best.size);
const tokenizer = openTokenizer(model.folder, model.manifest);
const cpu: number[] = [];
const rates = { bare: [] as number[], texts: [] as number[], batcher: [] as number[] };
await runBatcher();
for (let round = 0; round < ROUNDS; round++) {
  rates.bare.push(tokens / (await runBare(batches)));
  const [batcherCpu, batcherSeconds] = await withCpu(runBatcher);
  rates.batcher.push(tokens / batcherSeconds);
  const [textsCpu, textsSeconds] = await withCpu(
    async () => (await runTokenizer(best.size)) + (await runBare(batches)),
  );
  rates.texts.push(tokens / textsSeconds);
  cpu.push(batcherCpu / textsCpu);
}
console.log(`\n| ${NAME} | tokens/s, median of ${ROUNDS} | least | most |`);
console.log('|---|---|---|---|');
row(`bare loop, ${best.size} texts a batch`, rates.bare);
row('the same, with the tokenizer in the loop', rates.texts);
row('pipeline and batcher', rates.batcher);
console.log('');
compare('the bare loop', rates.bare);
compare('the bare loop with its tokenizer', rates.texts);
console.log(
  `CPU time through the batcher: ${(100 * median(cpu)).toFixed(1)} % of that of the bare loop with its tokenizer.`,
);
const padding = await registry.getSingleMetric('tidemark_embed_padding_ratio')!.get();
const part = (name: string) =>
  padding.values.find((value) => 'metricName' in value && value.metricName === name)!.value;
const runs = part('tidemark_embed_padding_ratio_count');
console.log(
  `${((TEXTS * (ROUNDS + 1)) / runs).toFixed(1)} texts a batch, ` +
    `${((100 * part('tidemark_embed_padding_ratio_sum')) / runs).toFixed(1)} % of a batch are no padding.`,
);
await batcher.close();
await session.release();
await done();

/** Job postings of made-up words: their lengths are spread as those of real ones. */
function postings(count: number): string[] {
  const random = seeded(11);
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)]!;
  return Array.from({ length: count }, (_, at) => {
    const size = 4 + Math.floor(8 / (0.06 + random()));
    const words = Array.from({ length: size }, () => pick(WORDS));
    return `${pick(TITLES)} ${at} at ${pick(WORDS)}. ${words.join(' ')}.`;
  });
}

type Feeds = Record<string, Tensor>;

/** The inputs of each run, of texts sorted by length. */
function bareBatches({ manifest }: Model, all: readonly TokenizedText[], size: number): Feeds[] {
  const types = new Map(inputsOf(session).map(({ name, type }) => [name, type]));
  const sorted = all.toSorted((a, b) => a.tokens - b.tokens);
  return Array.from({ length: Math.ceil(sorted.length / size) }, (__, at) => {
    const rows = sorted.slice(at * size, (at + 1) * size);
    const longest = rows.at(-1)!.tokens;
    const tensor = (name: string, fill: (text: TokenizedText, at: number) => number): Tensor => {
      const numbers = rows.flatMap((text) =>
        Array.from({ length: longest }, (___, i) => (i < text.tokens ? fill(text, i) : 0)),
      );
      const type = types.get(name);
      const data =
        type === 'float32'
          ? Float32Array.from(numbers)
          : type === 'int32'
            ? Int32Array.from(numbers)
            : BigInt64Array.from(numbers.map(BigInt));
      return new Tensor(data, [rows.length, longest]);
    };
    const { ids, mask, types: segments, weights } = manifest.inputs;
    return {
      [ids]: tensor(ids, (text, i) => text.ids[i]!),
      ...(mask && { [mask]: tensor(mask, () => 1) }),
      ...(segments && { [segments]: tensor(segments, () => 0) }),
      ...(weights && { [weights]: tensor(weights, (text, i) => text.weights![i]!) }),
    };
  });
}

/** Seconds. */
async function runBare(feeds: readonly Feeds[]): Promise<number> {
  const start = performance.now();
  for (const feed of feeds) await session.run(feed, [model.manifest.output]);
  return (performance.now() - start) / 1_000;
}

/** Seconds from texts to rows that could be committed; nothing is in the pool of inputs. */
async function runBatcher(): Promise<number> {
  const pipeline = new Pipeline({
    embedder: async () => batcher,
    copyPooled: () => false,
    fields: (view, version) => store.version(view, version).fields,
    isLatestOnly: () => false,
    textCharsMax: 65_536,
  });
  const { binding, dim } = await pipeline.bind({ name: NAME });
  const version = { ...store.catalogue.mustGetView('job').versions['v1']!, dim, model: binding };
  const chunks: string[][] = [];
  for (let at = 0; at < texts.length; at += CHUNK) chunks.push(texts.slice(at, at + CHUNK));
  const queue = chunks.values();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const chunk of queue) {
        const rows = new RevisionBatch(dim * 4, chunk.length);
        const inputs = chunk.map((text) => ({ text }));
        await pipeline.addTexts('job', version, rows, inputs, { lane: 'nearline' });
      }
    }),
  );
  return (performance.now() - start) / 1_000;
}

/** The CPU time of all threads while something ran, and what it gave: others' work counts for less. */
async function withCpu<T>(work: () => Promise<T>): Promise<[seconds: number, result: T]> {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / 1e6, result];
}

/** Seconds. */
async function runTokenizer(size: number): Promise<number> {
  const start = performance.now();
  for (let at = 0; at < texts.length; at += size)
    await tokenizer.encode(texts.slice(at, at + size));
  return (performance.now() - start) / 1_000;
}

/** Says what part of another way the batcher has, by the rounds. */
function compare(name: string, other: readonly number[]): void {
  const ratios = other.map((rate, at) => (100 * rates.batcher[at]!) / rate);
  console.log(
    `Through the batcher: ${median(ratios).toFixed(1)} % of ${name} ` +
      `(median of ${ratios.map((ratio) => ratio.toFixed(0)).join(', ')}).`,
  );
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

function row(name: string, all: readonly number[]): void {
  const shown = [median(all), Math.min(...all), Math.max(...all)].map(Math.round);
  console.log(`| ${name} | ${shown.join(' | ')} |`);
}
