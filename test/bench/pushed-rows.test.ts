import { expect, test } from 'vitest';

import { RowSource } from '../../bench/store/pushed-rows.ts';

test('no row that is pushed has a vector that was pushed before', () => {
  const source = new RowSource(3, 4);
  const seen = new Set<string>();
  for (let push = 0; push < 50; push++) {
    const rows = source.take(5);
    for (const vector of rows.vectors) seen.add(vector.toString('hex'));
    source.giveBack(rows);
  }
  expect(seen.size).toBe(250);
});

test('a batch that was not given back stays as it was taken', () => {
  const source = new RowSource(3, 4);
  const first = source.take(2);
  const [ids, vectors] = [[...first.ids], first.vectors.map((vector) => Buffer.from(vector))];
  source.take(2);
  expect(first).toEqual({ ids, vectors });
});

test('a batch of as many rows as there are entities has each once', () => {
  expect(new Set(new RowSource(20, 4).take(20).ids).size).toBe(20);
});
