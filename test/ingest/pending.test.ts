import { expect, test } from 'vitest';

import { Pending } from '../../src/ingest/pending.ts';

test('an entity waits as long as one of its texts does', () => {
  const pending = new Pending();
  const first = pending.add('job', 'v1', ['1', '2']);
  const second = pending.add('job', 'v1', ['2', '2']);
  first();
  first();
  expect(pending.of('job', 'v1')?.has('1')).toBe(false);
  expect(pending.of('job', 'v1')?.has('2')).toBe(true);
  second();
  expect(pending.of('job', 'v1')).toBeUndefined();
});

test('what waits in one model version does not wait in another', () => {
  const pending = new Pending();
  const done = pending.add('job', 'v2', ['1']);
  expect(pending.of('job', 'v1')).toBeUndefined();
  expect(pending.of('member', 'v2')).toBeUndefined();
  done();
  // What is added after the last one left is there until it leaves.
  const again = pending.add('job', 'v2', ['1']);
  done();
  expect(pending.of('job', 'v2')?.has('1')).toBe(true);
  again();
  expect(pending.of('job', 'v2')).toBeUndefined();
});

test('nothing is waited for where there are no texts', () => {
  const pending = new Pending();
  pending.add('job', 'v1', [])();
  expect(pending.of('job', 'v1')).toBeUndefined();
});
