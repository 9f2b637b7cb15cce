import { expect, test } from 'vitest';

import { barsSvg, shown } from '../../bench/harness/bars.ts';

function widthsOf(svg: string): number[] {
  const bars = [...svg.matchAll(/<rect x="[^"]+" y="[^"]+" width="([^"]+)"/g)];
  return bars.map(([, width]) => Number(width));
}

test('bars of one panel are as long as their values, each panel in its own scale', () => {
  const svg = barsSvg('title', [
    {
      title: 'rates',
      unit: '/s',
      bars: [
        { name: 'a', value: 200, isOurs: true },
        { name: 'b', value: 100, isOurs: false },
      ],
    },
    { title: 'latencies', unit: 'ms', bars: [{ name: 'a', value: 3, isOurs: true }] },
  ]);
  const [a, b, other] = widthsOf(svg);
  expect(a! / b!).toBeCloseTo(2, 5);
  expect(other).toBe(a);
});

test('a spread that goes beyond its bar stays within the picture', () => {
  const svg = barsSvg('title', [
    {
      title: 'rates',
      unit: '/s',
      bars: [{ name: 'a', value: 1, least: 0.5, most: 10, isOurs: true }],
    },
  ]);
  const end = Number(/<line x1="[^"]+" x2="([^"]+)"/.exec(svg)![1]);
  const width = Number(/viewBox="0 0 (\d+) /.exec(svg)![1]);
  expect(end).toBeLessThan(width);
});

test('names are text, whatever is in them', () => {
  const svg = barsSvg('a < b & c', []);
  expect(svg).toContain('a &lt; b &amp; c');
});

test('a number is shown with two or three digits, however small it is', () => {
  const numbers = [0, 0.0123, 0.5, 1.234, 12.34, 123.4, 12_345];
  expect(numbers.map(shown)).toEqual(['0.00', '0.012', '0.50', '1.23', '12.3', '123', '12345']);
});
