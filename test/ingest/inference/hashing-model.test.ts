import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { buildHashingModel } from '../../../models/build-hashing.ts';
import type { Embedder } from '../../../src/ingest/inference/embedder.ts';
import { openModel } from '../../../src/ingest/inference/models.ts';
import { startEmbedder, vectorsOf as embedAll } from '../../support/embedder.ts';

const FOLDER = join(import.meta.dirname, '../../../models/hashing');

test.each(Object.entries(buildHashingModel()))(
  'the committed models/hashing/%s is what models/build-hashing.ts makes',
  async (file, content) => {
    const committed = await readFile(join(FOLDER, file));
    expect(committed.equals(content)).toBe(true);
    expect(committed.length).toBeLessThan(1024 * 1024);
  },
);

describe('the bundled hashing model', () => {
  let embedder: Embedder;
  beforeAll(async () => {
    embedder = await startEmbedder(await openModel('no-such-folder', 'hashing'));
  });
  afterAll(() => embedder.close());

  const vectorsOf = async (texts: readonly string[]): Promise<Float32Array[]> =>
    embedAll(embedder, texts);

  test.each([
    ['Senior baker, Rose', 'Rose: senior baker (m/f/d)', 'Truck driver at Northwind'],
    [
      'data scientist, machine learning',
      'machine-learning data science',
      'night nurse, cardiology',
    ],
    ['機械学習エンジニア', '機械学習のエンジニア', '看護師'],
    ['développeur logiciel à Lyon', 'développeuse logiciel, Lyon', 'chef de cuisine à Nice'],
  ])('%s is closer to %s than to %s', async (text, alike, other) => {
    const [a, b, c] = (await vectorsOf([text, alike, other])) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    expect(cosine(a, b)).toBeGreaterThan(0.5);
    expect(cosine(a, c)).toBeLessThan(0.4);
  });

  test('vectors have length 1 and 128 numbers', async () => {
    const [vector] = await vectorsOf(['🙂']);
    expect(vector).toHaveLength(128);
    expect(cosine(vector!, vector!)).toBeCloseTo(1, 5);
  });

  test('a text has the same bytes for a vector alone as in any batch, in any order', async () => {
    const texts = [
      'baker',
      'baker in the old town '.repeat(40),
      'a',
      '東京のパン屋',
      'x y z',
      ...Array.from({ length: 123 }, (_, at) =>
        `Job ${at} in ward ${at % 9}, `.repeat(1 + (at % 30)),
      ),
    ];
    const alone = new Map<string, Float32Array>();
    for (const text of texts) alone.set(text, (await vectorsOf([text]))[0]!);
    for (const size of [2, 3, 5, 8, 16, 64, texts.length]) {
      for (const order of [texts, texts.toReversed(), texts.toSorted()]) {
        for (let at = 0; at < order.length; at += size) {
          const part = order.slice(at, at + size);
          const together = await vectorsOf(part);
          for (const [index, text] of part.entries()) {
            expect(together[index], `${text} among ${size}`).toEqual(alone.get(text));
          }
        }
      }
    }
  });

  test('many texts at once come back in their order', async () => {
    const texts = Array.from({ length: 1_500 }, (_, at) => `job ${at} `.repeat(1 + (at % 7)));
    const together = await vectorsOf(texts);
    for (const index of [0, 1, 6, 1_023, 1_024, 1_499]) {
      expect(together[index]).toEqual((await vectorsOf([texts[index]!]))[0]);
    }
  });

  test('no texts have no vectors', async () => {
    expect(await vectorsOf([])).toHaveLength(0);
  });

  test('a text that cannot be read fails alone', async () => {
    const { failures } = await embedder.embed(['a', ' '], { lane: 'rest' });
    expect([...failures.keys()]).toEqual([1]);
    expect(failures.get(1)).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('no tokens'),
    });
  });

  test('the vectors of these words never change', async () => {
    const [vector] = await vectorsOf(['Senior baker, Rose']);
    const expected = [0, 0.03582, 0, 0.0828, 0, -0.10699];
    for (const [i, value] of expected.entries()) expect(vector![i]).toBeCloseTo(value, 4);
  });
});

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
}
