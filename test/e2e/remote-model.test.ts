import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import OpenAI from 'openai';
import { expect, test } from 'vitest';

import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

/*
 * Two servers: one runs a model, and another has it for a remote model. What crosses between them is
 * what crosses between Tidemark and any other server of embeddings.
 */

const VIEW = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 128, dtype: 'float32' };
const AT = '2026-01-01T00:00:00Z';

/** A server whose remote model `far` is the hashing model of another one. */
async function startBeside(first: ServerProcess, data = tempDirectory()): Promise<ServerProcess> {
  const config = join(tempDirectory(), 'tidemark.yaml');
  const far = { name: 'far', url: `${first.url}/v1`, model: 'hashing', dim: 128, batch_texts: 7 };
  writeFileSync(config, JSON.stringify({ remote_models: [far] }));
  return ServerProcess.start(data, ['--config', config]);
}

function textOf(number: number): string {
  return `${'Night porter, nights only. '.repeat(number % 9)}Job ${number} of many.`;
}

function recordsOf(from: number, to: number): object[] {
  return Array.from({ length: to - from }, (_, at) => ({
    entity_id: `job-${from + at}`,
    event_timestamp: AT,
    text: textOf(from + at),
  }));
}

async function push(server: ServerProcess, from: number, to: number) {
  return server.send('POST', '/v1/push', {
    feature_view: 'job',
    records: recordsOf(from, to),
  });
}

/** The vectors of all jobs below a number, as bytes. */
async function bytesOf(server: ServerProcess, to: number): Promise<Buffer> {
  const answer = await fetch(`${server.url}/v1/lookup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/vnd.safetensors' },
    body: JSON.stringify({
      lookups: [
        {
          feature_view: 'job',
          entity_ids: Array.from({ length: to }, (_, number) => `job-${number}`),
        },
      ],
    }),
  });
  expect(answer.status).toBe(200);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const header = Number(bytes.readBigUInt64LE());
  const { 'job.vector': tensor } = JSON.parse(bytes.subarray(8, 8 + header).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [begin, end] = tensor!.data_offsets;
  return bytes.subarray(8 + header + begin, 8 + header + end);
}

test(
  'a server whose model another one runs has its vectors to the byte, loses nothing when that one is killed, and goes on by itself (A14)',
  { timeout: 120_000 },
  async () => {
    const firstData = tempDirectory();
    const first = await ServerProcess.start(firstData);
    const second = await startBeside(first);
    const sides = [
      [first, 'hashing'],
      [second, 'far'],
    ] as const;
    for (const [server, name] of sides) {
      await server.ask('PUT', '/v1/feature-views/job', { ...VIEW, model: { name } });
      expect((await push(server, 0, 60)).status).toBe(200);
    }
    expect(await bytesOf(second, 60)).toEqual(await bytesOf(first, 60));

    const port = new URL(first.url).port;
    await first.kill();
    const refused = await push(second, 40, 120);
    expect(refused).toMatchObject({ status: 503, body: { code: 'MODEL_UNAVAILABLE' } });
    expect((await second.send('GET', '/readyz')).body).toMatchObject({
      ready: false,
      checks: {
        'model far': {
          ok: false,
          state: 'failed',
          circuit: expect.stringMatching('open') as string,
          message: expect.stringContaining('ECONNREFUSED') as string,
        },
      },
    });
    const metrics = await (await fetch(`${second.url}/metrics`)).text();
    expect(metrics).toContain('tidemark_embed_remote_circuit{model="far",state="closed"} 0');
    expect(metrics).toMatch(/remote_requests_total\{model="far",outcome="broken"\} [5-9]/);
    // What is stored is served all the while, and what is in the pool needs no model.
    expect((await bytesOf(second, 60)).length).toBe(60 * 128 * 4);
    expect((await push(second, 0, 60)).body).toMatchObject({
      versions: { v1: { duplicate: 60 } },
    });

    const again = await ServerProcess.start(firstData, ['--port', port]);
    expect(again.url).toBe(first.url);
    await expect
      .poll(async () => (await second.send('GET', '/readyz')).status, { timeout: 60_000 })
      .toBe(200);
    expect((await push(second, 40, 120)).body).toMatchObject({
      versions: { v1: { latest: 60, duplicate: 20 } },
      rejected: [],
    });
    expect((await push(again, 60, 120)).status).toBe(200);
    expect(await bytesOf(second, 120)).toEqual(await bytesOf(again, 120));
  },
);

test('a version that is bound to a remote model is still so at another address', async () => {
  const first = await ServerProcess.start(tempDirectory());
  const data = tempDirectory();
  const second = await startBeside(first, data);
  await second.ask('PUT', '/v1/feature-views/job', { ...VIEW, model: { name: 'far' } });
  expect((await push(second, 0, 3)).status).toBe(200);
  await second.terminate();
  await first.kill();
  const moved = await ServerProcess.start(tempDirectory());
  expect(moved.url).not.toBe(first.url);
  const again = await startBeside(moved, data);
  expect((await push(again, 3, 6)).body).toMatchObject({ versions: { v1: { latest: 3 } } });
});

test('the client of OpenAI has the vectors that are stored, through one server and two', async () => {
  const first = await ServerProcess.start(tempDirectory());
  const second = await startBeside(first);
  await first.ask('PUT', '/v1/feature-views/job', { ...VIEW, model: { name: 'hashing' } });
  await push(first, 0, 40);
  const stored = await bytesOf(first, 40);
  const input = Array.from({ length: 40 }, (_, number) => textOf(number));
  for (const [{ url }, model] of [
    [first, 'hashing'],
    [first, 'job@v1'],
    [second, 'far'],
  ] as const) {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });
    for (const format of [{}, { encoding_format: 'float' as const }]) {
      const { data, usage } = await client.embeddings.create({ input, model, ...format });
      const bytes = Buffer.from(Float32Array.from(data.flatMap((each) => each.embedding)).buffer);
      expect(bytes).toEqual(stored);
      expect(usage.total_tokens).toBeGreaterThan(400);
    }
    const cut = client.embeddings.create({ input, model, dimensions: 64 });
    await expect(cut).rejects.toMatchObject({ status: 422, param: 'dimensions' });
  }
  const client = new OpenAI({ baseURL: `${first.url}/v1`, apiKey: 'any', maxRetries: 0 });
  const missing = client.embeddings.create({ input, model: 'missing' });
  await expect(missing).rejects.toMatchObject({ status: 422, code: 'MODEL_INVALID' });
  const empty = client.embeddings.create({ input: ['good', ' '], model: 'hashing' });
  await expect(empty).rejects.toMatchObject({ status: 422, code: 'EMPTY_TEXT', param: 'input' });
});

test('clients of OpenAI that are more than a server takes are all served in the end, since they come back when told', async () => {
  const config = join(tempDirectory(), 'tidemark.yaml');
  writeFileSync(config, JSON.stringify({ inference: { queue_tokens: 64 } }));
  const { url } = await ServerProcess.start(tempDirectory(), ['--config', config]);
  const statuses: number[] = [];
  const client = new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: 'any',
    maxRetries: 10,
    fetch: async (...asked) => {
      const answer = await fetch(...asked);
      statuses.push(answer.status);
      if (answer.status === 429) expect(Number(answer.headers.get('retry-after'))).toBe(1);
      return answer;
    },
  });
  const input = Array.from({ length: 200 }, (_, number) => textOf(number));
  await client.embeddings.create({ input: 'warm', model: 'hashing' });
  const answers = Array.from({ length: 6 }, async () =>
    client.embeddings.create({ input, model: 'hashing' }),
  );
  const vectors = (await Promise.all(answers)).map(({ data }) => data.length);
  expect(vectors).toEqual(answers.map(() => 200));
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
});
