import fc from 'fast-check';
import { expect, test } from 'vitest';

import { type Dtype, DTYPES } from '../../src/store/dtype.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { type Metric, scoreRows } from '../../src/timetravel/score.ts';
import { batchOf, testStore, viewOf } from '../support/store.ts';

const QUESTION = {
  asOf: undefined,
  boundary: 'inclusive',
  knowledge: 'event',
  knownAt: undefined,
  maxAge: ANY_AGE,
  now: 0,
} as const;

/** Of the vector of int8 at a place. */
function scaleOf(at: number): number {
  return Math.fround(1 / (at + 1));
}

/** The scores of entities with these vectors, and of one that is not there behind every third. */
async function scoresOf(
  vectors: readonly number[][],
  query: readonly number[],
  metric: Metric,
  dtype: Dtype,
): Promise<number[]> {
  const store = testStore(viewOf('job', query.length, dtype));
  const rows = vectors.map((vector, at) => ({
    id: `${at}`,
    event: 1,
    vector: dtype === 'int8' ? vector.map(Math.round) : vector,
    scale: scaleOf(at),
  }));
  if (rows.length > 0) {
    await store.commit('job', 'v1', { rows: batchOf(rows, query.length, dtype) });
  }
  const version = store.version('job', 'v1');
  const ids = vectors.flatMap((_, at) => (at % 3 === 2 ? [`${at}`, 'nobody'] : [`${at}`]));
  const resolution = resolveMany(version, ids, { ...QUESTION, snapshot: store.snapshot });
  const scores = scoreRows(query, metric, { vectors: version.vectors, dtype }, resolution);
  ids.forEach((id, row) => expect(Number.isNaN(scores[row])).toBe(id === 'nobody'));
  return [...scores].filter((score) => !Number.isNaN(score));
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, number, at) => sum + number * b[at]!, 0);
}

/** Summed one after the other in float64, of the numbers as they are stored. */
function naive(
  vector: readonly number[],
  at: number,
  query: readonly number[],
  metric: Metric,
  dtype: Dtype,
) {
  const rounded = {
    float32: Math.fround,
    float16: Math.f16round,
    int8: (number: number) => Math.round(number) * scaleOf(at),
  }[dtype];
  const stored = vector.map(rounded);
  if (metric === 'dot') return dot(stored, query);
  const length = Math.sqrt(dot(stored, stored)) * Math.sqrt(dot(query, query));
  return length === 0 ? 0 : dot(stored, query) / length;
}

test('a score is the inner product, or the cosine, with each vector that is there', async () => {
  const vectors = [
    [1, 0, 0],
    [0, 2, 0],
    [3, 4, 0],
    [-3, -4, 0],
    [0, 0, 0],
  ];
  expect(await scoresOf(vectors, [3, 4, 0], 'dot', 'float32')).toEqual([3, 8, 25, -25, 0]);
  const cosines = await scoresOf(vectors, [3, 4, 0], 'cosine', 'float16');
  expect(cosines).toEqual([0.6, 0.8, 1, -1, 0].map(Math.fround));
  expect(await scoresOf(vectors, [0, 0, 0], 'cosine', 'float32')).toEqual([0, 0, 0, 0, 0]);
});

test('scores of any vectors are those of float64, rounded once', async () => {
  const number = fc.double({ min: -8, max: 8, noNaN: true });
  const shape = fc.record({
    dim: fc.integer({ min: 1, max: 70 }),
    count: fc.integer({ min: 0, max: 80 }),
    metric: fc.constantFrom('dot', 'cosine'),
    dtype: fc.constantFrom(...DTYPES),
  });
  const given = shape.chain(({ dim, count, metric, dtype }) => {
    const vector = fc.array(number, { minLength: dim, maxLength: dim });
    const vectors = fc.array(vector, { minLength: count, maxLength: count });
    return fc.record({
      vectors,
      query: vector,
      metric: fc.constant(metric),
      dtype: fc.constant(dtype),
    });
  });
  await fc.assert(
    fc.asyncProperty(given, async ({ vectors, query, metric, dtype }) => {
      const scores = await scoresOf(vectors, query, metric, dtype);
      expect(scores).toHaveLength(vectors.length);
      vectors.forEach((vector, at) => {
        const expected = naive(vector, at, query, metric, dtype);
        // The order of a sum moves its last bits; a float32 has 24 of them.
        const scale = metric === 'dot' ? 64 * query.length : 1;
        expect(Math.abs(scores[at]! - expected)).toBeLessThanOrEqual(scale * 2 ** -24);
      });
    }),
    { numRuns: 40 },
  );
});
