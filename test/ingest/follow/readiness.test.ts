import { expect, test } from 'vitest';

import type { FollowerStatus } from '../../../src/ingest/follow/follower.ts';
import { replicaCheck } from '../../../src/ingest/follow/readiness.ts';

const FOLLOWING: FollowerStatus = {
  state: 'following',
  leader: 'http://leader:8080',
  isReady: true,
  connected: true,
  lag_seqs: 0,
  lag_seconds: 0,
};

test.each([
  ['that has all', {}, 300, true],
  ['that is as old as is allowed', { lag_seconds: 300 }, 300, true],
  ['that is older', { lag_seconds: 300.5 }, 300, false],
  ['of any age, where that is allowed', { lag_seconds: 1e9 }, 0, true],
  ['that has never caught up', { isReady: false, lag_seconds: null }, 0, false],
] as const)('a replica %s is ready, or not', (_what, status, maxLagSeconds, ok) => {
  expect(replicaCheck({ ...FOLLOWING, ...status }, maxLagSeconds).ok).toBe(ok);
});

test('a replica that is too old says how old, what the limit is, and why', () => {
  const cut = { connected: false, state: 'connecting', lag_seconds: 400, message: 'fetch failed' };
  const { message } = replicaCheck({ ...FOLLOWING, ...cut } as FollowerStatus, 300);
  expect(message).toBe(
    'what is here is 400 s old, over follow_max_lag_seconds (300 s); fetch failed',
  );
  expect(replicaCheck(FOLLOWING, 300)).not.toHaveProperty('message');
});
