import { expect, test, vi } from 'vitest';

import { type Contender, measureInTurns, spreadIn, spreadText } from '../../bench/harness/rows.ts';

function contender(name: string, group: string, turns: string[]): Contender {
  let count = 0;
  return {
    name,
    group,
    turn: async (isWarmUp) => {
      turns.push(isWarmUp ? `${name}'` : name);
      return { rate: count++ };
    },
  };
}

test('contenders of a group take turns A B A B, after a round that is not counted', async () => {
  const said = vi.spyOn(console, 'error').mockReturnValue(undefined);
  const turns: string[] = [];
  const rows = await measureInTurns(
    [contender('a', 'x', turns), contender('c', 'y', turns), contender('b', 'x', turns)],
    2,
  );
  said.mockRestore();
  expect(turns).toEqual(["a'", "b'", 'a', 'b', 'a', 'b', "c'", 'c', 'c']);
  expect(rows).toEqual([
    { name: 'a', group: 'x', values: { rate: [1, 2] } },
    { name: 'b', group: 'x', values: { rate: [1, 2] } },
    { name: 'c', group: 'y', values: { rate: [1, 2] } },
  ]);
});

test('a metric that was not measured has no spread and an empty cell', () => {
  const row = { name: 'a', group: '', values: { rate: [2, 1, 3] } };
  expect(spreadText(spreadIn(row, 'rate'))).toBe('2.00 (1.00–3.00)');
  expect(spreadIn(row, 'p99')).toBeUndefined();
  expect(spreadText(undefined)).toBe('');
  expect(spreadText({ median: 2, least: 2, most: 2 })).toBe('2.00');
});
