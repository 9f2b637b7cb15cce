import { join, resolve } from 'node:path';

import { Unpackr } from 'msgpackr';
import { expect, onTestFinished, test } from 'vitest';

import { loadConfig } from '../../src/config.ts';
import { formatInstant, micros } from '../../src/ground/time.ts';
import { openModel } from '../../src/ingest/inference/models.ts';
import { pullModel } from '../../src/ingest/inference/pull.ts';
import { startTidemark } from '../../src/main.ts';
import { seeded } from '../model/random.ts';
import { pythonWith, runPython } from '../python.ts';
import {
  CHANGE_LOG,
  changeLogLines,
  changeLogMissing,
  type PostingChange,
  PROMPT,
  textOf,
} from '../support/change-log.ts';
import { startEmbedder, vectorsOf } from '../support/embedder.ts';
import { tempDirectory } from '../support/temp.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

const missing = changeLogMissing();
const PARTITIONS = 3;
const unpackr = new Unpackr({ int64AsType: 'number', useRecords: false });
/** The bundled model, or `minilm` for the real one, which is fetched when it is not there. */
const MODEL = process.env['CHANGE_LOG_MODEL'] ?? 'hashing';
const MODELS = resolve('.cache/models');
const CHECK = join(import.meta.dirname, 'check_change_log.py');

interface Matrix {
  results: [
    { dim: number; statuses: string[]; event_timestamps: (number | null)[]; vectors: Uint8Array },
  ];
}

describeKafka('a real change log', () => {
  const cluster = Cluster.open();

  test.skipIf(missing !== undefined)(
    'through Kafka and inference answers every question as a replay of the file does (A1–A5, A7, A12)',
    async () => {
      if (MODEL === 'minilm') await pullModel(MODELS, MODEL);
      const lines = changeLogLines();
      const changes = lines.map((line) => JSON.parse(line) as PostingChange);
      // The records are years old: a broker with its usual retention would delete them at once.
      const topic = await cluster.topic(PARTITIONS, { 'retention.ms': '-1' });
      await produce(cluster, topic, lines, changes);

      const { url, seconds } = await ingest(topic, changes.length);
      const metrics = await (await fetch(`${url}/metrics`)).text();
      const count = (name: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(metrics)?.[1]);
      const texts = new Set(
        changes.flatMap(({ after }) => (after === null ? [] : [textOf(after)])),
      );
      const events = changes.length;
      const embedded = count('tidemark_ingest_inputs_total{result="embedded"}');
      const dead = count('tidemark_ingest_events_total{source="postings",result="dead_letter"}');
      const duplicates = count(
        'tidemark_ingest_events_total{source="postings",result="duplicate"}',
      );
      const confirmed = count('tidemark_ingest_confirmations_total{source="postings"}');
      const deletes = changes.filter(({ after }) => after === null).length;
      const changed = events - deletes - duplicates - confirmed;
      process.stdout.write(
        `${events} events, ${deletes} deletes, ${duplicates} duplicates, ${confirmed} confirmations: ` +
          `${changed} texts after change detection (${(events / changed).toFixed(2)} events each), ` +
          `${embedded} inferences after dedupe (${(events / embedded).toFixed(2)} events each), ` +
          `${texts.size} distinct texts, ${dead} dead, ${seconds.toFixed(1)} s (${MODEL})\n`,
      );
      expect(dead).toBe(0);
      expect(embedded).toBe(texts.size);
      // Texts that differ only in what the model does not look at may share a vector, too.
      expect(count('tidemark_store_vectors{feature_view="job",version="v1"}')).toBeLessThanOrEqual(
        texts.size,
      );

      if (MODEL === 'minilm') await checkWithPython(url, texts.size);

      const vectors = await embedAll([...texts]);
      const ids = [...new Set(changes.map(({ id }) => id))];
      const histories = Map.groupBy(changes, ({ id }) => id);
      const random = seeded(4);
      const times = changes.map(({ ts_ms }) => ts_ms);
      const moments = Array.from({ length: 12 }, () => times[random(times.length)]! - random(2));
      for (const moment of [undefined, ...moments]) {
        const { results } = await lookup(url, ids, moment);
        const { dim, statuses, event_timestamps, vectors: matrix } = results[0];
        const rows = new Float32Array(new Uint8Array(matrix).buffer);
        for (const [at, id] of ids.entries()) {
          const last = histories.get(id)!.findLast(({ ts_ms }) => ts_ms <= (moment ?? Infinity));
          const where = `${id} at ${moment}`;
          if (last === undefined || last.after === null) {
            expect(statuses[at], where).toBe('NOT_FOUND');
            continue;
          }
          expect(statuses[at], where).toBe('PRESENT');
          expect(event_timestamps[at], where).toBe(last.ts_ms * 1_000);
          const expected = vectors.get(textOf(last.after))!;
          const difference = distance(rows.subarray(at * dim, (at + 1) * dim), expected);
          // A batch of another shape rounds otherwise, and an int8 model more so.
          expect(difference, where).toBeLessThan(MODEL === 'hashing' ? 1e-5 : 0.05);
        }
      }
    },
    MODEL === 'hashing' ? 120_000 : 1_200_000,
  );
});

/** As the check in Python knows it. */
function partitionOf(id: string): number {
  return Buffer.from(id).reduce((sum, byte) => sum + byte, 0) % PARTITIONS;
}

/** Every revision against the file, by a program in another language that shares no code with ours. */
async function checkWithPython(url: string, texts: number): Promise<void> {
  const python = await pythonWith(['numpy==2.4.6', 'onnxruntime==1.29.0', 'tokenizers==0.23.2']);
  const told = [CHECK, CHANGE_LOG, url, String(PARTITIONS), join(MODELS, MODEL)];
  const report = await runPython(python, told);
  process.stdout.write(`${report}\n`);
  expect(JSON.parse(report)).toMatchObject({ problems: [], distinct_texts: texts });
}

/** All events of an entity go to one partition, in the order of the file. */
async function produce(
  cluster: Cluster,
  topic: string,
  lines: readonly string[],
  changes: readonly PostingChange[],
): Promise<void> {
  const messages = lines.map((value, at) => ({
    key: changes[at]!.id,
    value,
    timestamp: String(changes[at]!.ts_ms),
  }));
  const parts = Map.groupBy(messages, ({ key }) => partitionOf(key));
  for (const [partition, part] of parts) {
    for (let from = 0; from < part.length; from += 1_000) {
      await cluster.produce(topic, part.slice(from, from + 1_000), { partition });
    }
  }
}

/** Runs a server that reads the topic, until it has read it all. */
async function ingest(topic: string, events: number): Promise<{ url: string; seconds: number }> {
  const config = loadConfig(
    {
      data: tempDirectory(),
      port: 0,
      log_level: 'error',
      models: MODELS,
      kafka: connection(),
      sources: [
        {
          name: 'postings',
          content: 'fields',
          topics: [topic],
          feature_view: 'job',
          version: 'v1',
          entity_id: 'id',
          event_timestamp: { path: 'ts_ms', unit: 'ms' },
          known_timestamp: 'record',
          delete_when: { path: 'op', equals: 'd' },
          fields: {
            title: 'after.title',
            company: 'after.company_name',
            locations: 'after.locations',
            terms: 'after.terms',
            sponsorship: 'after.sponsorship',
          },
        },
      ],
    },
    {},
  );
  const tidemark = await startTidemark(config);
  onTestFinished(async () => tidemark.stop());
  const model = await openModel(config.models, MODEL);
  const start = performance.now();
  const made = await fetch(`${tidemark.url}/v1/feature-views/job`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      entity: 'job',
      join_key: 'job_id',
      version: 'v1',
      dim: model.manifest.dim,
      dtype: 'float32',
      model: { name: MODEL, prompt: PROMPT },
    }),
  });
  expect(made.status).toBe(201);
  const read = async () => {
    const metrics = await (await fetch(`${tidemark.url}/metrics`)).text();
    const counts = metrics.matchAll(/^tidemark_ingest_events_total\{[^}]*\} (\d+)/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  await expect.poll(read, { timeout: 1_200_000, interval: 100 }).toBe(events);
  return { url: tidemark.url, seconds: (performance.now() - start) / 1_000 };
}

/** What the model itself says of each text. */
async function embedAll(texts: readonly string[]): Promise<Map<string, Float32Array>> {
  const embedder = await startEmbedder(await openModel(MODELS, MODEL));
  onTestFinished(async () => embedder.close());
  const vectors = await vectorsOf(embedder, texts);
  return new Map(texts.map((text, at) => [text, vectors[at]!]));
}

async function lookup(url: string, ids: string[], moment: number | undefined): Promise<Matrix> {
  const answer = await fetch(`${url}/v1/lookup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/vnd.msgpack' },
    body: JSON.stringify({
      lookups: [{ feature_view: 'job', entity_ids: ids }],
      ...(moment !== undefined && { as_of: formatInstant(micros(moment * 1_000)) }),
    }),
  });
  expect(answer.status).toBe(200);
  return unpackr.unpack(Buffer.from(await answer.arrayBuffer())) as Matrix;
}

function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at]!)), 0);
}
