import { setImmediate as turned } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { WaitingLine } from '../../src/api/waiting-line.ts';

/** A line whose clocks a test moves; every request takes so long. */
function startLine(maxWaitMs: number, requestMs = 10) {
  const clocks = { now: 0, idle: 0 };
  const line = new WaitingLine(maxWaitMs, { now: () => clocks.now, idle: () => clocks.idle });
  const settled: [name: string, isLate: boolean][] = [];
  const join = (name: string): void =>
    line.join((isLate) => {
      settled.push([name, isLate]);
      if (!isLate) clocks.now += requestMs;
    });
  return { line, clocks, join, settled };
}

test('a request need not wait while nobody does and the turn is young', async () => {
  const { line, clocks, join } = startLine(100);
  expect(line.isFree()).toBe(true);
  clocks.now += 4;
  expect(line.isFree()).toBe(true);
  clocks.now += 1;
  expect(line.isFree()).toBe(false);
  // The next turn.
  await turned();
  expect(line.isFree()).toBe(true);
  clocks.now += 10;
  // The loop has waited for work: so this is another turn.
  clocks.idle += 1;
  expect(line.isFree()).toBe(true);
  join('a');
  expect(line.isFree()).toBe(false);
});

test('requests have their turns as they came, and between them there is time for others', async () => {
  const { line, join, settled } = startLine(100);
  for (const name of ['a', 'b', 'c']) join(name);
  expect(settled).toEqual([]);
  await turned();
  expect(settled).toEqual([['a', false]]);
  join('d');
  await turned();
  await turned();
  await turned();
  expect(settled.map(([name]) => name)).toEqual(['a', 'b', 'c', 'd']);
  expect(line.length).toBe(0);
});

test('of short requests many have their turn together', async () => {
  const { join, settled } = startLine(100, 0.1);
  for (let at = 0; at < 40; at++) join(String(at));
  await turned();
  expect(settled).toHaveLength(32);
  await turned();
  expect(settled).toHaveLength(40);
});

test('a burst is worked off, even where it takes longer than the bound', async () => {
  const { line, join, settled } = startLine(100);
  for (let at = 0; at < 20; at++) join(String(at));
  while (line.length > 0) await turned();
  expect(settled.filter(([, isLate]) => isLate)).toEqual([]);
  // The line was empty: the next burst is one of its own.
  for (let at = 0; at < 20; at++) join(String(at));
  while (line.length > 0) await turned();
  expect(settled.filter(([, isLate]) => isLate)).toEqual([]);
});

test('once the line has stood for twice the bound, the last to come is served, and who waited longer is late', async () => {
  const { line, clocks, join, settled } = startLine(100, 0);
  join('a');
  clocks.now += 50;
  join('b');
  clocks.now += 70;
  for (const name of ['c', 'd', 'e']) join(name);
  clocks.now += 80;
  await turned();
  expect(line.length).toBe(0);
  expect(settled).toEqual([
    ['a', true],
    ['b', true],
    ['e', false],
    ['d', false],
    ['c', false],
  ]);
});

test('refusals leave time for work', async () => {
  const { clocks, join, settled } = startLine(100);
  for (let at = 0; at < 20; at++) join(String(at));
  clocks.now += 200;
  join('new');
  await turned();
  expect(settled).toEqual([
    ['0', true],
    ['1', true],
    ['2', true],
    ['3', true],
    ['new', false],
  ]);
});

test('without a bound nobody is ever late', async () => {
  const { clocks, join, settled } = startLine(0, 1);
  join('first');
  clocks.now += 1e6;
  join('second');
  await turned();
  expect(settled).toEqual([
    ['first', false],
    ['second', false],
  ]);
});
