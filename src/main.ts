import { pino } from 'pino';
import { Registry } from 'prom-client';

import type { Readiness } from './api/deps.ts';
import { buildServer } from './api/server.ts';
import type { Config } from './config.ts';
import { TidemarkError } from './ground/errors.ts';
import { systemClock } from './ground/time.ts';
import { Embedders } from './ingest/embedders.ts';
import { Follower } from './ingest/follow/follower.ts';
import { addReplicaMetrics } from './ingest/follow/metrics.ts';
import { KafkaSource } from './ingest/kafka/source.ts';
import { addIngestMetrics } from './ingest/metrics.ts';
import { Pipeline } from './ingest/pipeline.ts';
import { openStore, type Store } from './store/store.ts';
import { SkewCheck } from './timetravel/skew.ts';
import { Upkeep } from './upkeep.ts';

/** A running Tidemark: one process, one data directory. */
export interface Tidemark {
  /** Where it answers, such as `http://127.0.0.1:8080`. */
  url: string;
  /** Takes no more work, finishes what it has, and closes the store. */
  stop(): Promise<void>;
}

/**
 * Opens the store, starts the server, and then the sources; models get warm in the background, and
 * `/readyz` says when they are. A read replica follows its leader instead, until it is promoted.
 * Throws STORE_LOCKED, STORE_FORMAT, READ_ONLY_REPLICA for a directory that follows where no leader
 * is named, and what the address does not allow.
 */
export async function startTidemark(config: Config): Promise<Tidemark> {
  const logger = pino({ level: config.log_level, base: null });
  const store = openStore(config.data, systemClock);
  await refuseLeaderless(store, config);
  const embedders = new Embedders(config.models, config.inference);
  const pipeline = new Pipeline({
    embedder: (name) => embedders.get(name),
    copyPooled: (view, version, hash, out) => store.version(view, version).copyPooled(hash, out),
    textCharsMax: config.inference.text_chars,
  });
  const futureSkewMax = Math.round(config.max_future_skew_seconds * 1e6);
  const sources = config.sources.map(
    (source) =>
      new KafkaSource({
        config: source,
        connection: config.kafka!,
        store,
        futureSkewMax,
        log: logger,
        ...(source.format === 'json_fields' && {
          preparer: (version) => pipeline.preparer(source.feature_view, version),
        }),
      }),
  );
  const registry = new Registry();
  addIngestMetrics(registry, sources, pipeline);
  const follower =
    config.follow === undefined
      ? undefined
      : new Follower({ url: config.follow, store, log: logger, backoff });
  if (follower !== undefined) addReplicaMetrics(registry, follower);
  const upkeep = new Upkeep(store, config.maintenance, logger);
  upkeep.addMetrics(registry);
  const skew = new SkewCheck({
    store,
    sample: config.skew_check.sample,
    queueMax: config.skew_check.queue,
    random: Math.random,
    onMismatch: (row) =>
      logger.error(row, 'an answer was served that a training join answers otherwise'),
  });
  const server = await buildServer({
    store,
    ...(config.skew_check.sample > 0 && { skew }),
    limits: config.limits,
    bindModel: async ({ name, prompt }) => pipeline.bind(name, prompt),
    addTexts: async (view, version, batch, inputs) =>
      pipeline.addTexts(view, version, batch, inputs),
    readiness: () => readiness(store, embedders, sources, follower),
    promote: async () => {
      await follower?.stop();
      await store.replica.promote();
      logger.info({ snapshot: store.snapshot }, 'promoted: this server leads now');
      startLeading();
    },
    backupDirectories: config.backup.directories,
    maxFutureSkew: futureSkewMax,
    logger: { level: config.log_level, base: null },
    registry,
  });

  function startLeading(): void {
    for (const name of modelsOf(store)) {
      embedders.get(name).catch((error: unknown) => {
        logger.error({ model: name, err: error }, 'the model cannot be used');
      });
    }
    for (const source of sources) source.start();
  }

  async function stop(): Promise<void> {
    upkeep.stop();
    // A request that waits for a compaction or a backup would hold the server up.
    await store.maintenance.close();
    await server.close();
    await follower?.stop();
    await Promise.all(sources.map(async (source) => source.stop()));
    await embedders.close();
    skew.stop();
    await store.close();
    logger.info('stopped');
  }

  try {
    // Before anybody can ask: it must take no writes by then.
    follower?.start();
    const url = await server.listen({ host: config.host, port: config.port });
    if (follower === undefined) startLeading();
    upkeep.start();
    logger.info({ url, data: config.data }, 'serving');
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The models that versions of the catalogue are bound to. */
function modelsOf(store: Store): Set<string> {
  const versions = store.catalogue.views().flatMap((view) => Object.values(view.versions));
  return new Set(versions.flatMap(({ model }) => model?.name ?? []));
}

/** Throws READ_ONLY_REPLICA, with the store closed. */
async function refuseLeaderless(store: Store, { data, follow }: Config): Promise<void> {
  if (store.following === undefined || follow !== undefined) return;
  const { leader } = store.following;
  await store.close();
  throw new TidemarkError(
    'READ_ONLY_REPLICA',
    `${data} is a read replica of ${leader}: start it with --follow ${leader}, ` +
      `or make it lead with "tidemark replica promote --data ${data}"`,
  );
}

/** Before a leader is asked again, ms: longer with each failure, and never together with others. */
function backoff(failures: number): number {
  return Math.min(10_000, 250 * 2 ** failures) * (0.5 + Math.random());
}

function readiness(
  store: Store,
  embedders: Embedders,
  sources: readonly KafkaSource[],
  follower: Follower | undefined,
): Readiness {
  // A refused write does not make it unready: without requests it would never find out that there
  // is room again, and reads go on.
  const message = store.failure ?? store.refusal;
  const checks: Readiness['checks'] = {
    store: { ok: store.failure === undefined, ...(message !== undefined && { message }) },
  };
  if (follower !== undefined && store.following !== undefined) {
    const { hasCaughtUp, message: why, ...status } = follower.status();
    checks['replica'] = {
      ok: hasCaughtUp && status.state !== 'diverged',
      ...status,
      ...(why !== undefined && { message: why }),
    };
    // What makes revisions is the leader's business.
    return { ready: Object.values(checks).every(({ ok }) => ok), checks };
  }
  const inUse = modelsOf(store);
  for (const { name, state, message: why } of embedders.states()) {
    // A model that somebody only asked for is not what the server is there for.
    if (!inUse.has(name)) continue;
    checks[`model ${name}`] = {
      ok: state === 'warm',
      state,
      ...(why !== undefined && { message: why }),
    };
  }
  for (const source of sources) {
    const { name, state, message: why, partitions } = source.status();
    checks[`source ${name}`] = {
      ok: state === 'running',
      state,
      ...(why !== undefined && { message: why }),
      partitions,
    };
  }
  return { ready: Object.values(checks).every(({ ok }) => ok), checks };
}
