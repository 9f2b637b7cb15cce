import { expect, test } from 'vitest';

import { changesSince, changesTable } from '../../bench/harness/compare.ts';
import type { Metric, Row } from '../../bench/harness/rows.ts';

const RATE: Metric = { key: 'rate', title: 'requests/s', unit: '/s', better: 'more' };
const P99: Metric = { key: 'p99', title: 'p99, ms', unit: 'ms', better: 'less' };
const CPU: Metric = { key: 'cpu', title: 'CPU, ms', unit: 'ms' };

function row(values: Record<string, number[]>, name = 'Tidemark', group = '1 in flight'): Row {
  return { name, group, values };
}

function before(...rows: Row[]) {
  return { rows };
}

function verdictOf(metric: Metric, was: number[], is: number[]) {
  const [change] = changesSince(
    before(row({ [metric.key]: was })),
    [row({ [metric.key]: is })],
    [metric],
  );
  return [change!.ratio, change!.verdict];
}

test('a rate that is above all of the run before is better, one below worse', () => {
  expect(verdictOf(RATE, [100, 110, 120], [200, 220, 240])).toEqual([2, 'better']);
  expect(verdictOf(RATE, [200, 220, 240], [100, 110, 120])).toEqual([0.5, 'worse']);
});

test('a latency that is below all of the run before is better, one above worse', () => {
  expect(verdictOf(P99, [4, 5, 6], [2, 2.5, 3])).toEqual([0.5, 'better']);
  expect(verdictOf(P99, [2, 2.5, 3], [4, 5, 6])).toEqual([2, 'worse']);
});

test('of a metric that only explains, a run apart from the one before is neither', () => {
  expect(verdictOf(CPU, [1, 1.1], [2, 2.2])[1]).toBe('other');
});

test('of what was measured once in both runs the spread is not known', () => {
  expect(verdictOf(RATE, [100], [200])).toEqual([2, 'once']);
  expect(verdictOf(RATE, [100], [200, 210])[1]).toBe('better');
});

test('runs whose spreads touch are not told apart, however far their medians are', () => {
  expect(verdictOf(RATE, [100, 110, 200], [200, 210, 220])[1]).toBe('within');
  expect(verdictOf(RATE, [100, 110, 199], [200, 210, 220])[1]).toBe('better');
});

test('rows are compared by group and name, in the order of this run', () => {
  const rows = [row({ rate: [1] }, 'b'), row({ rate: [1] }, 'a'), row({ rate: [1] }, 'a', 'x')];
  const changes = changesSince(before(row({ rate: [2] }, 'a'), row({ rate: [4] }, 'b')), rows, [
    RATE,
  ]);
  expect(changes.map(({ name, group, ratio }) => [group, name, ratio])).toEqual([
    ['1 in flight', 'b', 0.25],
    ['1 in flight', 'a', 0.5],
  ]);
});

test('what one of the two runs has not measured is not compared', () => {
  const rows = [row({ rate: [1], p99: [1] })];
  expect(changesSince(before(row({ rate: [1] })), rows, [RATE, P99])).toHaveLength(1);
  expect(changesSince(before(row({ rate: [1], p99: [1] })), [row({})], [RATE, P99])).toEqual([]);
  expect(changesSince({}, rows, [RATE])).toEqual([]);
});

test('the table tells both runs with their spreads, and what lies beyond them', () => {
  const changes = changesSince(
    before(row({ rate: [100, 110, 120] })),
    [row({ rate: [200, 220, 240] })],
    [RATE],
  );
  expect(changesTable(changes)).toEqual([
    ['', '', 'before', 'now', 'now / before', 'beyond the spread'],
    ['1 in flight: Tidemark', 'requests/s', '110 (100–120)', '220 (200–240)', '2.00', '**better**'],
  ]);
});
