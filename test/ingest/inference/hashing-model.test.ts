import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { buildHashingModel } from '../../../models/build-hashing.ts';
import { openModel } from '../../../src/ingest/inference/models.ts';
import { OnnxEmbedder } from '../../../src/ingest/inference/onnx-embedder.ts';

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
  let embedder: OnnxEmbedder;
  beforeAll(async () => {
    embedder = await OnnxEmbedder.start(await openModel('no-such-folder', 'hashing'));
  });
  afterAll(() => embedder.close());

  const vectorsOf = async (texts: readonly string[]): Promise<Float32Array[]> => {
    const all = await embedder.embed(texts);
    expect(all).toHaveLength(texts.length * embedder.dim);
    return texts.map((_, row) => all.subarray(row * embedder.dim, (row + 1) * embedder.dim));
  };

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

  test('a text has the same vector alone as among others of any length', async () => {
    const texts = ['baker', 'baker in the old town '.repeat(40), 'a', '東京のパン屋', 'x y z'];
    const together = await vectorsOf(texts);
    for (const [index, text] of texts.entries()) {
      const [alone] = await vectorsOf([text]);
      expect(cosine(alone!, together[index]!)).toBeCloseTo(1, 5);
    }
  });

  test('many texts at once come back in their order', async () => {
    const texts = Array.from({ length: 1_500 }, (_, at) => `job ${at} `.repeat(1 + (at % 7)));
    const together = await vectorsOf(texts);
    for (const index of [0, 1, 6, 1_023, 1_024, 1_499]) {
      const [alone] = await vectorsOf([texts[index]!]);
      expect(cosine(alone!, together[index]!)).toBeCloseTo(1, 5);
    }
  });

  test('no texts have no vectors', async () => {
    expect(await embedder.embed([])).toHaveLength(0);
  });

  test('a text that cannot be read is named', async () => {
    await expect(embedder.embed(['a', ' '])).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('text 1 has no tokens'),
    });
  });

  test('the vectors of these words never change', async () => {
    const [vector] = await vectorsOf(['Senior baker, Rose']);
    const expected = [0, 0.03564, 0, 0.08316, 0, -0.10692];
    for (const [i, value] of expected.entries()) expect(vector![i]).toBeCloseTo(value, 4);
  });
});

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
}
