import { Gauge, type Registry } from 'prom-client';

import type { Follower, FollowerStatus } from './follower.ts';

/** Adds how far a replica is behind its leader; read when the metrics are asked for. */
export function addReplicaMetrics(registry: Registry, follower: Follower): void {
  const gauge = (name: string, help: string, read: (status: FollowerStatus) => number): void => {
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read(follower.status()));
      },
    });
  };
  gauge(
    'tidemark_replica_lag_seqs',
    'The leader’s snapshot less the replica’s.',
    ({ lag_seqs }) => lag_seqs ?? Number.NaN,
  );
  gauge(
    'tidemark_replica_lag_seconds',
    'How old what the replica has is; 0 when it has all.',
    ({ lag_seconds }) => lag_seconds ?? Number.NaN,
  );
  gauge(
    'tidemark_replica_connected',
    '1 while the leader sends its changes, else 0.',
    ({ connected }) => Number(connected),
  );
}
