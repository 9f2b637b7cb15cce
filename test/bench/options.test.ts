import { expect, test } from 'vitest';

import { askedOptions, commandOf, pageName, serverArgs } from '../../bench/harness/options.ts';

test('without words a run is the standard one, of one process that serves', () => {
  const options = askedOptions([], []);
  expect(options).toEqual({ isStandard: true, workers: 0, words: [] });
  expect([serverArgs(options), pageName('lookup', options)]).toEqual([[], 'lookup']);
  expect(commandOf('lookup', options)).toBe('npm run bench -- lookup');
});

test('a quick run, and one of other sizes, is none that goes into the docs', () => {
  expect(askedOptions([], ['--quick']).isStandard).toBe(false);
  expect(askedOptions(['words'], ['1000', '1000'])).toMatchObject({
    isStandard: false,
    words: ['1000', '1000'],
  });
});

test('a run with serving workers has a page of its own', () => {
  const options = askedOptions(['workers'], ['--workers', '2']);
  expect(serverArgs(options)).toEqual(['--workers', '2']);
  expect(pageName('lookup', options)).toBe('lookup-2-workers');
  expect(commandOf('lookup', options)).toBe('npm run bench -- lookup --workers 2');
});

test('what is no number of workers, and what is no option, is refused', () => {
  expect(() => askedOptions(['workers'], ['--workers', 'two'])).toThrow(
    '--workers two: expected a whole',
  );
  expect(() => askedOptions([], ['--quik'])).toThrow('--quik');
});

test('what a benchmark could do nothing with is refused', () => {
  expect(() => askedOptions([], ['--workers', '0'])).toThrow('--workers: this benchmark has no');
  expect(() => askedOptions(['workers'], ['scor'])).toThrow('scor: expected no more words');
});
