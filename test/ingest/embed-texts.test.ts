import { expect, test } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { embedTexts } from '../../src/ingest/embed-texts.ts';
import { FakeEmbedder } from '../support/fake-embedder.ts';

const { signal } = new AbortController();

function embed(
  embedder: FakeEmbedder,
  texts: readonly string[],
  dimensions?: number,
  matryoshka: readonly number[] = [],
) {
  return embedTexts({ name: 'fake', embedder, matryoshka }, texts, dimensions, 20, signal);
}

test('texts are embedded as those of entities are: normalised', async () => {
  const embedder = new FakeEmbedder();
  await embed(embedder, ['  sea \u200b salt ', 'cafe\u0301']);
  expect(embedder.asked).toEqual(['sea salt', 'caf\u00e9']);
});

test('a vector is cut to a declared dim and brought to length 1 again', async () => {
  const { vectors, dim } = await embed(new FakeEmbedder(), ['abc', 'z'], 1, [1]);
  expect([dim, [...vectors]]).toEqual([1, [1, 1]]);
});

test('the whole dim may be asked for of any model, as it is', async () => {
  const { vectors, dim } = await embed(new FakeEmbedder(), ['abc'], 2);
  expect([dim, [...vectors]]).toEqual([2, [3, 97]]);
});

test('a dim that the model does not declare is refused with those that it does', async () => {
  await expect(embed(new FakeEmbedder(), ['abc'], 3, [1])).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining('dimensions: got 3, expected 1 or 2') as string,
  });
});

test('a vector of which nothing is left when it is cut is refused (A14)', async () => {
  const embedder = new FakeEmbedder();
  embedder.embed = async () => ({ vectors: Float32Array.of(0, 1), failures: new Map() });
  await expect(embed(embedder, ['a'], 1, [1])).rejects.toMatchObject({
    code: 'BAD_VECTOR',
    message: expect.stringContaining('input[0]') as string,
  });
});

test.each([
  ['empty', ['good', ' \n'], 'EMPTY_TEXT', 'input[1]: the text is empty'],
  ['too long', ['x'.repeat(21)], 'BAD_INPUT', 'input[0]: the text has 21 characters'],
])('a text that is %s fails the request, and is named', async (_what, texts, code, message) => {
  const embedder = new FakeEmbedder();
  await expect(embed(embedder, texts)).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message) as string,
  });
  expect(embedder.asked).toEqual([]);
});

test('of the texts that have no vector the first is named, with its own code', async () => {
  const embedder = new FakeEmbedder();
  embedder.failures.set('worse', new TidemarkError('BAD_INPUT', 'no tokens'));
  embedder.failures.set('bad', new TidemarkError('BAD_VECTOR', 'all zeros'));
  await expect(embed(embedder, ['good', 'bad', 'worse'])).rejects.toMatchObject({
    code: 'BAD_VECTOR',
    message: 'input[1]: all zeros',
  });
});
