import { expect, test } from 'vitest';

import { ServerRefused, ServerUnreachable } from '../../src/cli/failure.ts';
import { waitMs, withRetries } from '../../src/cli/retry.ts';

const NOW = Date.UTC(2026, 2, 1, 12);

test.each([
  // Retry-After, tries so far, chance → ms
  [null, 1, 0, 250],
  [null, 1, 0.5, 375],
  [null, 4, 0, 2_000],
  [null, 9, 0.9, 30_000],
  ['2', 1, 0.9, 2_000],
  ['0', 5, 0.9, 0],
  ['3600', 1, 0, 30_000],
  ['Sun, 01 Mar 2026 12:00:05 GMT', 1, 0, 5_000],
  ['Sun, 01 Mar 2026 11:00:00 GMT', 1, 0, 0],
  ['soon', 2, 0, 500],
])(
  'after Retry-After %s and %i tries with chance %d the wait is %i ms',
  (header, tries, chance, ms) => {
    expect(waitMs(header, tries, NOW, chance)).toBe(ms);
  },
);

/** Answers `failures` first, then that it worked; notes the waits. */
function asker(...failures: Error[]) {
  const waits: number[] = [];
  let asked = 0;
  const answer = withRetries(
    async () => {
      asked++;
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return 'done';
    },
    async (ms) => void waits.push(ms),
    () => {},
  );
  return { answer, waits, asked: () => asked };
}

const refused = (status: number, retryAfter: string | null = null) =>
  new ServerRefused(status, 'OVERLOADED', 'later', retryAfter);

test('a server that is overloaded or stopping is asked again, after as long as it says', async () => {
  const { answer, waits } = asker(refused(429, '3'), refused(503, '1'));
  expect(await answer).toBe('done');
  expect(waits).toEqual([3_000, 1_000]);
});

test('a refusal that will not pass is final', async () => {
  const { answer, waits } = asker(refused(422), refused(422));
  await expect(answer).rejects.toThrow('later');
  expect(waits).toEqual([]);
});

test('a server that is not there is not waited for', async () => {
  const { answer, asked } = asker(new ServerUnreachable('nobody'));
  await expect(answer).rejects.toThrow('nobody');
  expect(asked()).toBe(1);
});

test('a server that stays overloaded is given up on after ten tries', async () => {
  const { answer, asked } = asker(...Array.from({ length: 20 }, () => refused(429)));
  await expect(answer).rejects.toThrow('OVERLOADED');
  expect(asked()).toBe(10);
});
