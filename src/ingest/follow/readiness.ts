import type { FollowerStatus } from './follower.ts';

/**
 * Whether a read replica may answer, for `/readyz`: it has caught up with its leader once, and what
 * it has is not older than `maxLagSeconds`; 0: of any age.
 */
export function replicaCheck(
  { isReady, message: why, ...status }: FollowerStatus,
  maxLagSeconds: number,
): { ok: boolean; message?: string } & Omit<FollowerStatus, 'isReady' | 'message'> {
  const lag = status.lag_seconds ?? 0;
  const isStale = maxLagSeconds > 0 && lag > maxLagSeconds;
  const messages = [
    ...(isStale
      ? [
          `what is here is ${Math.round(lag)} s old, over follow_max_lag_seconds (${maxLagSeconds} s)`,
        ]
      : []),
    ...(why === undefined ? [] : [why]),
  ];
  return {
    ok: isReady && !isStale,
    ...status,
    ...(messages.length > 0 && { message: messages.join('; ') }),
  };
}
