/** A benchmark that `npm run bench -- <name>` runs, as a program of its own. */
export interface Scenario {
  /** In this folder. */
  file: string;
  /** One line for the list. */
  says: string;
  /**
   * It takes `--quick`, writes a page into docs/benchmarks in its standard size, and is one of all.
   * The others print what they find.
   */
  hasPage: boolean;
}

function page(file: string, says: string): Scenario {
  return { file, says, hasPage: true };
}

function look(file: string, says: string): Scenario {
  return { file, says, hasPage: false };
}

/** By name. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  lookup: page('serving/lookup.ts', '501 vectors over HTTP, our client beside Redis MGET'),
  'lookup-cold': page('serving/lookup-cold.ts', 'the same of a server whose files no cache holds'),
  'lookup-wrk': page('serving/lookup-wrk.ts', 'the same with wrk, beside redis-benchmark'),
  'lookup-during-ingestion': page(
    'serving/during-ingestion.ts',
    'lookups while 20,000 vectors a second come in',
  ),
  score: page('serving/score.ts', '500 scores beside vectors that the client scores'),
  'as-of': page('serving/as-of.ts', 'as of a random moment beside the latest'),
  'one-key': page('serving/one-key.ts', 'one key beside a constant of the same size'),
  'feast-online': page('store/feast-online.ts', 'lookups beside Feast’s feature server'),
  'lookup-floor': page('floor/floor.ts', 'lookups in process beside memcpy and LMDB in C'),
  growth: page(
    'store/growth.ts',
    'lookups in process as a store grows; with the word full, to 10⁷',
  ),
  push: page('store/push.ts', 'durable pushes beside Redis that flushes each, and the disk'),
  'kafka-ingest': page(
    'ingest/kafka.ts',
    'vectors from Kafka beside kafkajs doing nothing, and the disk; with the word formats, of each of them',
  ),
  join: page('joins/join.ts', 'a training join beside DuckDB'),
  'join-peers': page('joins/peers.ts', 'a training join beside Polars and pandas'),
  'join-resolve': page('joins/resolve.ts', 'resolving alone beside DuckDB, one thread'),
  'join-floor': page('joins/floor.ts', 'a training join beside copying and writing its bytes'),
  'join-latency': page('joins/latency.ts', 'lookups during exports'),
  'join-feast': page('joins/feast.ts', 'a training join beside Feast'),
  'join-large': page('joins/large.ts', 'a training join larger than memory; 30 GB of disk'),
  'larger-than-memory': look(
    'serving/larger-than-memory.ts',
    'lookups of one key beside lookups of keys that are on the disk',
  ),
  checksums: look('store/checksums.ts', 'what checksums cost a lookup in process'),
  diff: look('store/diff.ts', 'pages of a diff'),
  compact: look('store/compact.ts', 'compaction, and lookups and pushes beside it'),
  backup: look('store/backup.ts', 'backups, and lookups and pushes beside them'),
  'file-growth': look('store/file-growth.ts', 'whether long reads make a file grow'),
  replica: look('serving/replica.ts', 'read replicas'),
  inference: look('ingest/inference.ts', 'texts to vectors: takes the name of a model'),
  freshness: look(
    'ingest/freshness.ts',
    'from Kafka to an answer: takes model, events a second, seconds',
  ),
  'walk-through': look(
    'rollout/walk-through.ts',
    'another model version filled, promoted and rolled back under lookups and pushes',
  ),
};
