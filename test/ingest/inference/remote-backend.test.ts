import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Registry } from 'prom-client';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { Batcher } from '../../../src/ingest/inference/batcher.ts';
import type { Embedded } from '../../../src/ingest/inference/embedder.ts';
import { EmbedMetrics } from '../../../src/ingest/inference/metrics.ts';
import { RemoteBackend } from '../../../src/ingest/inference/remote-backend.ts';
import {
  type RemoteModel,
  remoteModelSchema,
} from '../../../src/ingest/inference/remote-config.ts';
import {
  base64Of,
  type EmbeddingsStub,
  type Manner,
  refuse,
  send,
  sendData,
  startEmbeddingsStub,
  stubVector,
} from '../../support/embeddings-stub.ts';
import { tempDirectory } from '../../support/temp.ts';

const TRIAL = 1;

type Settings = Partial<Omit<RemoteModel, 'name' | 'model'>>;

function modelAt(url: string, settings: Settings = {}): RemoteModel {
  const declared = { name: 'far', url, model: 'their-name', dim: 2, ...settings };
  return remoteModelSchema.parse(declared);
}

async function start(stub: EmbeddingsStub, settings: Settings = {}, environment = {}) {
  const outcomes: string[] = [];
  const backend = await RemoteBackend.start(modelAt(stub.url, settings), {
    now: () => performance.now(),
    backoffMs: () => 1,
    onRequest: (outcome) => outcomes.push(outcome),
    environment,
  });
  const batcher = new Batcher(backend, {
    queue: { texts: 1_000, tokens: 1_000_000 },
    now: () => performance.now(),
    metrics: new EmbedMetrics(new Registry()).of('far'),
  });
  onTestFinished(async () => batcher.close());
  const embed = async (texts: string[]) => batcher.embed(texts, { lane: 'nearline' });
  return { backend, batcher, embed, outcomes };
}

function rowsOf({ vectors }: Embedded): number[][] {
  return Array.from({ length: vectors.length / 2 }, (_, row) => [
    ...vectors.subarray(row * 2, row * 2 + 2),
  ]);
}

const TEXTS = ['a', 'bb', 'ccc', 'dddd', 'eeeee'];
const RIGHT = TEXTS.map(stubVector);

/** Answers well, and then does something to each entry. */
function changed(
  change: (entry: { index: number; embedding: unknown }, text: string) => object,
): Manner {
  return ({ input }, response) =>
    sendData(
      response,
      input.map((text, index) => change({ index, embedding: base64Of(stubVector(text)) }, text)),
    );
}

describe('a remote model', () => {
  test('is asked in the shape of OpenAI, in batches within its limits', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub, { batch_texts: 2, dimensions: true });
    expect(rowsOf(await embed(TEXTS))).toEqual(RIGHT);
    const [trial, ...batches] = stub.asked;
    expect(trial).toMatchObject({
      model: 'their-name',
      encoding_format: 'base64',
      dimensions: 2,
      headers: { 'content-type': 'application/json' },
    });
    expect(trial!.headers).not.toHaveProperty('authorization');
    expect(batches.map(({ input }) => input.length)).toEqual([2, 2, 1]);
  });

  test('has no more requests at once than it is to have', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub, { batch_texts: 1, concurrency: 2 });
    const held: (() => void)[] = [];
    const { manner } = stub;
    stub.manner = (asked, response) => void held.push(() => manner(asked, response));
    const answer = embed(TEXTS);
    for (let left = TEXTS.length; left > 0; left--) {
      await vi.waitUntil(() => held.length === Math.min(2, left));
      held.shift()!();
    }
    expect(rowsOf(await answer)).toEqual(RIGHT);
  });

  test('is cut into batches by the tokens that its texts seem to have', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub, { batch_tokens: 22 });
    await embed(Array.from({ length: 4 }, () => 'x'.repeat(40)));
    expect(stub.asked.slice(TRIAL).map(({ input }) => input.length)).toEqual([2, 2]);
  });

  test('may answer numbers in the place of base64, and in another order', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub);
    stub.manner = ({ input }, response) =>
      sendData(
        response,
        input.map((text, index) => ({ index, embedding: stubVector(text) })).toReversed(),
      );
    expect(rowsOf(await embed(TEXTS))).toEqual(RIGHT);
  });

  test('is sent the API key of a file as it is now, or of a variable', async () => {
    const stub = await startEmbeddingsStub();
    const file = join(tempDirectory(), 'key');
    writeFileSync(file, 'first-key\n');
    const { embed } = await start(stub, { api_key_file: file });
    writeFileSync(file, 'second-key\n');
    await embed(['a']);
    await start(stub, { api_key_env: 'FAR_KEY' }, { FAR_KEY: 'third-key' });
    const keys = stub.asked.map(({ headers }) => headers.authorization);
    expect(keys).toEqual(['Bearer first-key', 'Bearer second-key', 'Bearer third-key']);
  });

  test.each([
    ['what no header can carry', 'se\ncret'],
    ['nothing', ''],
  ])('has no key in a variable that holds %s, and the key is not shown', async (_what, key) => {
    const stub = await startEmbeddingsStub();
    const started = start(stub, { api_key_env: 'FAR_KEY' }, { FAR_KEY: key });
    await expect(started).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining('the variable FAR_KEY holds no API key') as string,
    });
    await expect(started).rejects.not.toThrow(/cret\b/);
    expect(stub.asked).toEqual([]);
  });

  test('shows no key that the server repeats', async () => {
    const stub = await startEmbeddingsStub();
    stub.manner = (_asked, response) =>
      send(response, 401, { error: { message: 'the key my-secret is wrong' } });
    const started = start(stub, { api_key_env: 'FAR_KEY' }, { FAR_KEY: 'my-secret' });
    await expect(started).rejects.toThrow(/answered 401: the key … is wrong/);
  });
});

describe('a vector that is none fails its text alone (A14)', () => {
  test.each([
    ['NaN', base64Of([Number.NaN, 1])],
    ['infinite', base64Of([Infinity, 1])],
    ['all zeros', base64Of([0, 0])],
    ['null among its numbers', [null, 1]],
  ])('when it is %s', async (_what, embedding) => {
    const stub = await startEmbeddingsStub();
    const { embed, backend } = await start(stub);
    stub.next = [changed((entry, text) => (text === 'bb' ? { ...entry, embedding } : entry))];
    const { failures, vectors } = await embed(TEXTS);
    expect([...failures].map(([at, { code }]) => [at, code])).toEqual([[1, 'BAD_VECTOR']]);
    expect([...vectors.subarray(4, 6)]).toEqual(RIGHT[2]);
    expect([stub.asked.length, backend.circuit]).toEqual([TRIAL + 1, 'closed']);
  });
});

const WRONG: [string, Manner][] = [
  ['another dim as base64', changed((entry) => ({ ...entry, embedding: base64Of([1, 0, 0]) }))],
  ['another dim as numbers', changed((entry) => ({ ...entry, embedding: [1] }))],
  ['no vector', changed(({ index }) => ({ index }))],
  ['a vector that is not normalised', changed((entry) => ({ ...entry, embedding: [3, 4] }))],
  ['one index twice', changed((entry) => ({ ...entry, index: 0 }))],
  ['an index out of range', changed((entry) => ({ ...entry, index: entry.index + 1 }))],
  ['too few vectors', (_asked, response) => sendData(response, [])],
  ['no data', (_asked, response) => send(response, 200, { data: 'none' })],
  ['truncated JSON', (_asked, response) => send(response, 200, '{"data": [{"index": 0, "emb')],
  ['half of its answer', (_asked, response) => cutOff(response)],
  ['a reset', (_asked, response) => response.socket!.resetAndDestroy()],
  ['nothing in time', () => {}],
  ['more than any answer', (_asked, response) => send(response, 200, ' '.repeat(2_000_000))],
  ['500', refuse(500)],
  ['429', refuse(429)],
  ['a redirect', refuse(302, { location: 'http://127.0.0.1:1/' })],
];

function cutOff(response: Parameters<Manner>[1]): void {
  response.writeHead(200, { 'content-length': '100' });
  response.write('{"data":');
  setImmediate(() => response.destroy());
}

describe('what a server answers wrongly is asked again', () => {
  test.each(WRONG)('%s', async (_what, manner) => {
    const stub = await startEmbeddingsStub();
    const { embed, backend } = await start(stub, { timeout_seconds: 0.3 });
    stub.next = [manner, manner];
    const { vectors, failures } = await embed(TEXTS.slice(1));
    expect([[...vectors], failures.size]).toEqual([RIGHT.slice(1).flat(), 0]);
    expect(stub.asked).toHaveLength(TRIAL + 3);
    expect(backend.circuit).toBe('closed');
  });

  test('a vector of another length is taken of a model that is not declared normalised', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub, { normalised: false });
    stub.manner = changed((entry) => ({ ...entry, embedding: [3, 4] }));
    expect(rowsOf(await embed(['a']))).toEqual([[3, 4]]);
  });

  test('not before the time that a busy server names', async () => {
    const stub = await startEmbeddingsStub();
    const { embed } = await start(stub);
    stub.next = [refuse(429, { 'retry-after': '1' })];
    const began = performance.now();
    expect(rowsOf(await embed(TEXTS))).toEqual(RIGHT);
    expect(performance.now() - began).toBeGreaterThanOrEqual(999);
    expect(stub.asked).toHaveLength(TRIAL + 2);
  });
});

describe('a text that the server refuses', () => {
  test.each([400, 413, 422])('with %d fails alone, and is sent no further', async (status) => {
    const stub = await startEmbeddingsStub();
    const { embed, outcomes } = await start(stub);
    const answer = stub.manner;
    stub.manner = (asked, response) =>
      (asked.input.includes('ccc') ? refuse(status) : answer)(asked, response);
    const { vectors, failures } = await embed(TEXTS);
    expect([...failures.keys()]).toEqual([2]);
    expect(failures.get(2)).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('why not') as string,
    });
    expect([...vectors]).toEqual([...RIGHT.slice(0, 2), [0, 0], ...RIGHT.slice(3)].flat());
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(3);
  });

  test('is not to blame where the server refuses any: nothing of it is let go', async () => {
    const stub = await startEmbeddingsStub();
    const { embed, batcher } = await start(stub);
    const answer = stub.manner;
    stub.manner = refuse(422);
    await expect(embed(['a'])).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(batcher.status).toMatchObject({ state: 'failed' });
    stub.manner = answer;
    await expect.poll(() => batcher.status).toEqual({ state: 'warm' });
    expect(rowsOf(await embed(['a']))).toEqual([stubVector('a')]);
  });

  test('or that kills it again and again is found, and the others have their vectors', async () => {
    const stub = await startEmbeddingsStub();
    const { embed, batcher } = await start(stub, { retries: 1 });
    const answer = stub.manner;
    stub.manner = (asked, response) =>
      asked.input.includes('ccc') ? response.socket!.resetAndDestroy() : answer(asked, response);
    const { vectors, failures } = await embed(TEXTS);
    expect([...failures].map(([at, { code }]) => [at, code])).toEqual([[2, 'INFERENCE_FAILED']]);
    expect([...vectors]).toEqual([...RIGHT.slice(0, 2), [0, 0], ...RIGHT.slice(3)].flat());
    expect(batcher.status).toEqual({ state: 'warm' });
  });
});

test('a text is not to blame for a server that is too busy for more than a trial', async () => {
  const stub = await startEmbeddingsStub();
  const { embed, backend } = await start(stub, { retries: 0 });
  const answer = stub.manner;
  stub.manner = (asked, response) =>
    (asked.input.includes('a') ? refuse(503) : answer)(asked, response);
  await expect(embed(['a'])).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  await expect.poll(() => backend.circuit).toBe('closed');
});

test('a key that is gone is no fault of the texts, and is used once it is there again', async () => {
  const stub = await startEmbeddingsStub();
  const environment: Record<string, string> = { FAR_KEY: 'first-key' };
  const { embed } = await start(stub, { api_key_env: 'FAR_KEY' }, environment);
  delete environment['FAR_KEY'];
  await expect(embed(['a'])).rejects.toMatchObject({
    code: 'MODEL_UNAVAILABLE',
    message: expect.stringContaining('holds no API key') as string,
  });
  environment['FAR_KEY'] = 'second-key';
  await expect.poll(() => embed(['a']).then(rowsOf, () => [])).toEqual([stubVector('a')]);
});

describe('the circuit', () => {
  test('opens after failures in a row, sends no more texts, and closes after a trial', async () => {
    const stub = await startEmbeddingsStub();
    const { embed, backend, batcher } = await start(stub, { circuit_failures: 3 });
    const answer = stub.manner;
    stub.manner = refuse(503);
    await expect(embed(TEXTS)).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('answered 503') as string,
      retryAfterSeconds: 1,
    });
    await vi.waitUntil(() => stub.asked.length > TRIAL + 6);
    expect(['open', 'half_open']).toContain(backend.circuit);
    const sent = stub.asked.filter(({ input }) => input.includes('a'));
    expect(sent).toHaveLength(3);
    await expect(embed(TEXTS)).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    stub.manner = answer;
    await expect.poll(() => batcher.status).toEqual({ state: 'warm' });
    expect(backend.circuit).toBe('closed');
    expect(rowsOf(await embed(TEXTS))).toEqual(RIGHT);
  });

  test.each([401, 403, 404])('opens at once for %d, which no retry helps', async (status) => {
    const stub = await startEmbeddingsStub();
    const { embed, outcomes } = await start(stub);
    const answer = stub.manner;
    stub.next = [refuse(status)];
    await expect(embed(['a'])).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(outcomes.slice(TRIAL)[0]).toBe('denied');
    stub.manner = answer;
    await expect.poll(() => embed(['a']).then(rowsOf, () => [])).toEqual([stubVector('a')]);
  });

  test('opens for a pause that is too long to be waited for', async () => {
    const stub = await startEmbeddingsStub();
    const { embed, backend } = await start(stub);
    stub.next = [refuse(429, { 'retry-after': '120' })];
    await expect(embed(['a'])).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(backend.circuit).toBe('open');
    expect(stub.asked).toHaveLength(TRIAL + 1);
  });
});

describe('the start', () => {
  test.each(WRONG.slice(0, 1))('is refused to a server with %s', async (_what, manner) => {
    const stub = await startEmbeddingsStub();
    stub.manner = manner;
    await expect(start(stub)).rejects.toThrow('gave a vector of 12 bytes, expected 8');
  });

  test('is refused for a model that there is not, and says so', async () => {
    const stub = await startEmbeddingsStub();
    stub.manner = refuse(404);
    await expect(start(stub)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });

  test('fails for now where nobody answers', async () => {
    const stub = await startEmbeddingsStub();
    stub.manner = (_asked, response) => response.socket!.resetAndDestroy();
    await expect(start(stub)).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  });
});
