/**
 * How long after an event was written to Kafka its vector is answered: a steady stream of real
 * changes of job postings, through a broker, a server and a model on one thread, to a reader that
 * follows the server's changes. The server, the broker, the writer and the reader share the machine.
 * Run with `npm run bench -- freshness <model> <events a second> <seconds>`.
 */
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import kafkajs, { type Producer } from 'kafkajs';

import { openModel } from '../../src/ingest/inference/models.ts';
import { pullModel } from '../../src/ingest/inference/pull.ts';
import { createClient } from '../../src/ingest/kafka/client.ts';
import { changeLogLines, type PostingChange, PROMPT } from '../../test/support/change-log.ts';
import { withFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { Server } from '../harness/server.ts';
import { percentile } from '../harness/statistics.ts';
import { withBroker } from './broker.ts';
import { SILENT } from './silent.ts';

const MODEL = process.argv[2] ?? 'minilm';
const RATE = Number(process.argv[3] ?? 200);
const SECONDS = Number(process.argv[4] ?? 60);
/** Events come by the handful, as they do from a database. */
const HANDFULS = 20;
const TOPIC = 'postings';
const MODELS = resolve('.cache/models');

/** How the records become texts. */
const SOURCE = {
  name: TOPIC,
  content: 'fields',
  topics: [TOPIC],
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
};

printGround();
const { manifest } =
  MODEL === 'minilm' ? await pullModel(MODELS, MODEL) : await openModel(MODELS, MODEL);
await withFolder(async (folder) => {
  await withBroker(async ({ address }) => {
    const client = createClient({ brokers: [address], ssl: false }, 'bench', SILENT);
    const admin = client.admin();
    await admin.connect();
    await admin.createTopics({ waitForLeaders: false, topics: [{ topic: TOPIC }] });
    await admin.disconnect();
    const producer = client.producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    const settings = { models: MODELS, kafka: { brokers: [address] }, sources: [SOURCE] };
    const server = await Server.start({ folder, data: join(folder, 'data'), settings });
    await server.ask('PUT', '/v1/feature-views/job', {
      entity: 'job',
      join_key: 'job_id',
      version: 'v1',
      dim: manifest.dim,
      dtype: 'float32',
      model: { name: MODEL, prompt: PROMPT },
    });
    while ((await fetch(`${server.url}/readyz`)).status !== 200) await delay(100);
    await measure(server.url, producer);
    await server.close();
    await producer.disconnect();
  });
});

async function measure(url: string, producer: Producer): Promise<void> {
  const lines = changeLogLines().slice(0, RATE * SECONDS);
  const keys = lines.map((line) => (JSON.parse(line) as PostingChange).id);
  /** When each event was written, and when a reader had its revision; by its offset. */
  const written = new Float64Array(lines.length);
  const visible = new Float64Array(lines.length);
  const following = new AbortController();
  const reading = follow(url, visible, following.signal);

  const each = RATE / HANDFULS;
  const start = performance.now();
  for (let from = 0; from < lines.length; from += each) {
    await delay(Math.max(0, start + (from / RATE) * 1_000 - performance.now()));
    const messages = lines.slice(from, from + each).map((value, at) => {
      written[from + at] = performance.now();
      return { key: keys[from + at]!, value, timestamp: String(Date.now()) };
    });
    // One after another, so that offsets are the events' numbers.
    await producer.send({ topic: TOPIC, messages });
  }
  const seconds = (performance.now() - start) / 1_000;
  const events = () => sumOf(url, /^tidemark_ingest_events_total\{.*\} (\d+)/gm);
  while ((await events()) < lines.length) await delay(50);
  const behind = performance.now() - start - seconds * 1_000;
  // The reader has what was committed a moment ago.
  await delay(500);
  following.abort();
  await reading;

  const times = Array.from(visible, (at, event) => (at === 0 ? -1 : at - written[event]!));
  const waits = Float64Array.from(times.filter((time) => time >= 0)).toSorted();
  const inferences = await sumOf(url, /^tidemark_ingest_inputs_total\{.*"embedded"\} (\d+)/gm);
  const ms = (share: number) => `${percentile(waits, share).toFixed(0)} ms`;
  console.log(
    `${MODEL}: ${lines.length} events in ${seconds.toFixed(1)} s (${(lines.length / seconds).toFixed(0)}/s); ` +
      `the last was committed ${behind.toFixed(0)} ms after it was acknowledged.\n` +
      `Event to visible: p50 ${ms(0.5)}, p95 ${ms(0.95)}, p99 ${ms(0.99)}, at most ${ms(1)}, ` +
      `of the ${waits.length} that made a revision.\n` +
      `${inferences} inferences: ${((100 * inferences) / lines.length).toFixed(1)} % of the events.`,
  );
}

/** Notes when each revision comes, by the offset of its record. */
async function follow(url: string, visible: Float64Array, signal: AbortSignal): Promise<void> {
  const answer = await fetch(`${url}/v1/changes?feature_view=job&follow=true`, { signal });
  const body = Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]);
  try {
    for await (const line of createInterface({ input: body })) {
      const change = JSON.parse(line) as { type: string; source?: { offset: number } };
      if (change.type === 'revision') visible[change.source!.offset] = performance.now();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function sumOf(url: string, samples: RegExp): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return [...metrics.matchAll(samples)].reduce((sum, [, count]) => sum + Number(count), 0);
}
