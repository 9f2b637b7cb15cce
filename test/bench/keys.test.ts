import { expect, test } from 'vitest';

import { distinct, uniform, zipf } from '../../bench/harness/keys.ts';
import { seeded } from '../../bench/harness/random.ts';

/** How often each was chosen, the most popular first. */
function countsOf(choice: (random: () => number) => number, draws: number): number[] {
  const random = seeded(1);
  const counts = new Map<number, number>();
  for (let draw = 0; draw < draws; draw++) {
    const chosen = choice(random);
    counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
  }
  return [...counts.values()].toSorted((a, b) => b - a);
}

test('of two by a Zipf law of exponent 1 the first is asked for twice as often as the second', () => {
  const [most, least] = countsOf(zipf(2, 1), 300_000);
  expect(most! / least!).toBeCloseTo(2, 1);
});

test('by a Zipf law the entity of rank r is asked for r^exponent times less than the first', () => {
  const counts = countsOf(zipf(1_000, 0.99), 1_000_000);
  for (const rank of [2, 5, 10]) {
    const expected = rank ** 0.99;
    expect(Math.abs(counts[0]! / counts[rank - 1]! / expected - 1)).toBeLessThan(0.05);
  }
});

test('with an exponent of 0 a Zipf law is uniform', () => {
  const counts = countsOf(zipf(10, 0), 100_000);
  expect(counts).toHaveLength(10);
  expect(counts[0]! / counts[9]!).toBeLessThan(1.1);
});

test('every entity has its turn, and chance at its ends chooses one that there is', () => {
  for (const count of [1, 2, 7, 10]) {
    const choose = zipf(count, 1);
    const chances = Array.from({ length: 500 }, (_, at) => at / 500);
    expect(new Set(chances.map((chance) => choose(() => chance))).size).toBe(count);
    expect([choose(() => 0), choose(() => 1 - 2 ** -53) < count]).toEqual([0, true]);
  }
});

test('popular entities do not lie next to each other', () => {
  const choose = zipf(1_000, 0.99);
  const [first, second] = [choose(() => 0), choose(() => 0.18)];
  expect(Math.abs(first - second)).toBeGreaterThan(10);
});

test('a request names each candidate once, however popular one is', () => {
  const chosen = distinct(zipf(1_000, 1.5), seeded(3), 500);
  expect(new Set(chosen).size).toBe(500);
  expect(chosen.every((entity) => entity >= 0 && entity < 1_000)).toBe(true);
});

test('uniform choices are the same for the same seed, and reach both ends', () => {
  const [once, again] = [seeded(1), seeded(1)].map((random) =>
    Array.from({ length: 100 }, () => uniform(10)(random)),
  );
  expect(again).toEqual(once);
  expect(new Set(once).size).toBe(10);
});
