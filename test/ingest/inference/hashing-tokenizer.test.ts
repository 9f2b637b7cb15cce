import fc from 'fast-check';
import { expect, test } from 'vitest';

import { hashText } from '../../../src/ingest/inference/hashing-tokenizer.ts';

const config = {
  kind: 'hashing',
  scheme: 'words-ngrams-fnv1a32-256ths',
  buckets: 4_096,
  ngram_min: 3,
  ngram_max: 4,
  word_weight: 1,
  ngram_weight: 0.5,
} as const;

const hashAll = (text: string): ReturnType<typeof hashText> => hashText(text, config, 4_096);

/** Buckets with their weights, whatever their order. */
function featuresOf(text: string): Map<number, number | undefined> {
  const { ids, weights } = hashAll(text);
  return new Map(Array.from(ids, (id, at) => [id, weights[at]]));
}

test('a word is one feature, and each n-gram of it with its ends another', () => {
  // cat; <ca cat at> <cat cat>
  expect(hashAll('cat').weights.map(Math.abs)).toEqual(Float32Array.of(1, 0.5, 0.5, 0.5, 0.5, 0.5));
});

test('a feature that comes again weighs more, but not twice as much', () => {
  const once = hashAll('cat').weights;
  const twice = hashAll('cat cat').weights;
  // 1 + ln 2, to the nearest 1/256.
  expect(twice[0]).toBe((once[0] ?? 0) * (433 / 256));
});

test('case and order of words make no difference', () => {
  expect(featuresOf('Senior Baker')).toEqual(featuresOf('baker SENIOR'));
});

test('about half of all features have each sign', () => {
  const words = Array.from({ length: 500 }, (_, at) => `word${at * 7919}`).join(' ');
  const { weights } = hashAll(words);
  const positive = weights.filter((weight) => weight > 0).length / weights.length;
  expect(positive).toBeGreaterThan(0.4);
  expect(positive).toBeLessThan(0.6);
});

test('a text is cut to the most buckets that the model takes', () => {
  const { ids, weights } = hashText('senior baker in the old town', config, 10);
  expect(ids).toHaveLength(10);
  expect([...ids]).toEqual([...hashAll('senior baker in the old town').ids].slice(0, 10));
  expect(weights).toHaveLength(10);
});

test('whatever can be seen has features, in distinct buckets of the table', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
      fc.pre(text.trim() !== '');
      const { ids, weights } = hashAll(text);
      expect(ids.length).toBeGreaterThan(0);
      expect(weights).toHaveLength(ids.length);
      expect(new Set(ids).size).toBe(ids.length);
      for (const id of ids) expect(id).toBeGreaterThanOrEqual(0);
      for (const id of ids) expect(id).toBeLessThan(config.buckets);
    }),
  );
});
