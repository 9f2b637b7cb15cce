import OpenAI from 'openai';
import { describe, expect, test, vi } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import { limitsSchema } from '../../src/api/limits.ts';
import { type ErrorCode, TidemarkError, TryLater } from '../../src/ground/errors.ts';
import { type Api, JOB, startApi } from './harness.ts';

/** Two numbers a text, none of which JSON or a float32 would change. */
const embed: Deps['embed'] = async ({ texts }) => ({
  vectors: Float32Array.from(texts.flatMap((text) => [text.length, 0.5])),
  dim: 2,
  tokens: 7,
});

function clientOf({ url }: Api, options = {}): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0, ...options });
}

async function failing(error: TidemarkError): Promise<Api> {
  return startApi({
    embed: async () => {
      throw error;
    },
  });
}

describe('the client of OpenAI', () => {
  test('has the vectors of texts, in base64 as it asks by itself', async () => {
    const asked = vi.fn(embed);
    const api = await startApi({ embed: asked });
    const input = ['a', 'bb'];
    const answer = await clientOf(api).embeddings.create({ input, model: 'small', user: 'me' });
    expect(answer).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [1, 0.5] },
        { object: 'embedding', index: 1, embedding: [2, 0.5] },
      ],
      model: 'small',
      usage: { prompt_tokens: 7, total_tokens: 7 },
    });
    expect(asked.mock.calls[0]![0]).toMatchObject({ model: { name: 'small' }, texts: input });
  });

  test('has them as numbers, of one text, of fewer dimensions', async () => {
    const asked = vi.fn(embed);
    const client = clientOf(await startApi({ embed: asked }));
    const { data } = await client.embeddings.create({
      input: 'abc',
      model: 'small',
      encoding_format: 'float',
      dimensions: 2,
    });
    expect(data.map(({ embedding }) => embedding)).toEqual([[3, 0.5]]);
    expect(asked.mock.calls[0]![0]).toMatchObject({ texts: ['abc'], dimensions: 2 });
  });

  test('names a model version in the place of a model', async () => {
    const asked = vi.fn(embed);
    const api = await startApi({ embed: asked });
    await api.send('PUT', '/v1/feature-views/job', JOB);
    const client = clientOf(api);
    await client.embeddings.create({ input: 'a', model: 'job@v1' });
    expect(asked.mock.calls[0]![0].model).toMatchObject({ view: 'job', version: { dim: 2 } });
    const missing = client.embeddings.create({ input: 'a', model: 'job@v2' });
    await expect(missing).rejects.toMatchObject({ status: 404, code: 'VERSION_NOT_FOUND' });
  });

  test('comes back after the time that a busy server names, and is served', async () => {
    const seen: number[] = [];
    const api = await startApi({
      embed: async (asked) => {
        seen.push(performance.now());
        if (seen.length === 1) throw new TryLater('OVERLOADED', 'the queue is full', 1);
        return embed(asked);
      },
    });
    const client = clientOf(api, { maxRetries: 1 });
    const { data } = await client.embeddings.create({ input: 'a', model: 'small' });
    expect(data).toHaveLength(1);
    expect(seen[1]! - seen[0]!).toBeGreaterThanOrEqual(999);
  });

  test('is told of a server that is busy, and for how long', async () => {
    const client = clientOf(await failing(new TryLater('OVERLOADED', 'the queue is full', 5)));
    const refused = client.embeddings.create({ input: 'a', model: 'small' });
    await expect(refused).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    const error: unknown = await refused.catch((reason: unknown) => reason);
    expect((error as InstanceType<typeof OpenAI.APIError>).headers?.get('retry-after')).toBe('5');
    expect(error).toMatchObject({
      status: 429,
      code: 'OVERLOADED',
      type: 'rate_limit_error',
      requestID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
  });

  test.each<[ErrorCode, number, string, string | null]>([
    ['BAD_INPUT', 422, 'invalid_request_error', 'input'],
    ['MODEL_INVALID', 422, 'invalid_request_error', null],
    ['MODEL_CHANGED', 409, 'invalid_request_error', null],
    ['MODEL_UNAVAILABLE', 503, 'server_error', null],
    ['INTERNAL', 500, 'server_error', null],
  ])(
    'reads the error %s as one of its own, with the status %d',
    async (code, status, type, param) => {
      const message = param === null ? 'why' : `${param}[0]: why`;
      const client = clientOf(await failing(new TidemarkError(code, message)));
      const refused = client.embeddings.create({ input: 'a', model: 'small' });
      await expect(refused).rejects.toBeInstanceOf(OpenAI.APIError);
      await expect(refused).rejects.toMatchObject({ status, code, type, param });
      await expect(refused).rejects.toThrow('why');
    },
  );
});

test.each<[string, unknown, string, string | null, RegExp]>([
  ['tokens', { input: [1, 2], model: 'm' }, 'BAD_REQUEST', 'input', /token ids are not taken/],
  ['arrays of tokens', { input: [[1], [2]], model: 'm' }, 'BAD_REQUEST', 'input', /token ids/],
  ['no input', { model: 'm' }, 'BAD_REQUEST', 'input', /input: is missing/],
  ['no texts', { input: [], model: 'm' }, 'BAD_REQUEST', 'input', /expected one text or more/],
  ['null', { input: ['a', null], model: 'm' }, 'BAD_REQUEST', 'input', /item 1 is null/],
  ['no model', { input: 'a' }, 'BAD_REQUEST', 'model', /model/],
  [
    'a format',
    { input: 'a', model: 'm', encoding_format: 'hex' },
    'BAD_REQUEST',
    'encoding_format',
    /float/,
  ],
  ['a field', { input: 'a', model: 'm', prompt: 'x' }, 'BAD_REQUEST', null, /prompt/],
  [
    'many texts',
    { input: ['a', 'b', 'c'], model: 'm' },
    'LIMIT_EXCEEDED',
    null,
    /embedding_texts of 2/,
  ],
  [
    'long texts',
    { input: ['abcd', 'efg'], model: 'm' },
    'LIMIT_EXCEEDED',
    null,
    /embedding_chars of 6/,
  ],
  ['a view', { input: 'a', model: 'job@v1' }, 'VIEW_NOT_FOUND', null, /job/],
])(
  'a body with %s is refused in the shape of OpenAI',
  async (_what, body, code, param, message) => {
    const limits = limitsSchema.parse({ embedding_texts: 2, embedding_chars: 6 });
    const api = await startApi({ embed, limits });
    const answer = await api.send('POST', '/v1/embeddings', body);
    expect(answer.type).toMatch(/^application\/json/);
    expect(answer.body).toEqual({
      error: {
        message: expect.stringMatching(message) as string,
        type: 'invalid_request_error',
        param,
        code,
      },
    });
  },
);

test('what is no body that the route takes is refused in the same shape', async () => {
  const api = await startApi({ embed });
  const broken = await api.send('POST', '/v1/embeddings', '{', {
    'content-type': 'application/json',
  });
  expect([broken.status, broken.body]).toMatchObject([422, { error: { code: 'BAD_REQUEST' } }]);
  const none = await api.send('POST', '/v1/embeddings');
  expect([none.status, none.body]).toMatchObject([
    415,
    { error: { code: 'UNSUPPORTED_MEDIA_TYPE' } },
  ]);
});

test('a caller that leaves takes its texts out of the queue', async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const api = await startApi({
    embed: async ({ signal }) => {
      asked.resolve(signal);
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
      throw new Error('it was aborted');
    },
  });
  const leaving = new AbortController();
  const answer = clientOf(api).embeddings.create(
    { input: 'a', model: 'm' },
    { signal: leaving.signal },
  );
  const signal = await asked.promise;
  leaving.abort();
  await expect(answer).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
  await vi.waitUntil(() => signal.aborted);
});
