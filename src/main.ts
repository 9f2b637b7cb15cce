import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { pino } from 'pino';
import { Registry } from 'prom-client';

import type { Deps, Readiness } from './api/deps.ts';
import { listen } from './api/listen.ts';
import { buildServer } from './api/server.ts';
import type { Config } from './config.ts';
import { TidemarkError } from './ground/errors.ts';
import { letHeapGrow } from './ground/heap.ts';
import { MICROS_PER_MILLI, systemClock } from './ground/time.ts';
import { Backfills } from './ingest/backfill/backfills.ts';
import { embedTexts } from './ingest/embed-texts.ts';
import { Embedders } from './ingest/embedders.ts';
import { Follower } from './ingest/follow/follower.ts';
import { addReplicaMetrics } from './ingest/follow/metrics.ts';
import { replicaCheck } from './ingest/follow/readiness.ts';
import { GoldenCheck } from './ingest/golden.ts';
import { EmbedMetrics } from './ingest/inference/metrics.ts';
import { probeProvider, type ProviderInfo } from './ingest/inference/provider.ts';
import { addSinkMetrics } from './ingest/kafka/sink-metrics.ts';
import { Sinks } from './ingest/kafka/sinks.ts';
import { Sources } from './ingest/kafka/source-set.ts';
import { addIngestMetrics } from './ingest/metrics.ts';
import { Pipeline } from './ingest/pipeline.ts';
import { replayLetters } from './ingest/replay.ts';
import { deadLetterTopicOf } from './ingest/source-config.ts';
import { Drift } from './rollout/drift.ts';
import { Gates } from './rollout/gates.ts';
import { Retirement } from './rollout/retirement.ts';
import { Shadow } from './rollout/shadow.ts';
import type { MadeBy } from './store/golden.ts';
import { openStore, type Store } from './store/store.ts';
import { nameOf } from './store/versions.ts';
import { ColdWatch } from './timetravel/cold/cold-watch.ts';
import { Prefetch } from './timetravel/cold/prefetch.ts';
import { Exports } from './timetravel/exports/exports.ts';
import { JoinPool } from './timetravel/join/pool.ts';
import { runJoin, windowLimits } from './timetravel/join/run.ts';
import { SkewCheck } from './timetravel/skew.ts';
import { readTable } from './timetravel/table/table.ts';
import { Upkeep } from './upkeep.ts';

/** How a server is reached that is one process of several: by those beside it alone. */
export interface Backstage {
  /** Where it listens instead of on its address: a socket in a folder that is nobody else's. */
  socket: string;
  /** Resolves when no other process has the store's files open. */
  beforeOpen: () => Promise<void>;
  /** The store is open, and others may read its files. */
  opened: (store: Store, registry: Registry) => void;
}

/** A running Tidemark: one data directory. */
export interface Tidemark {
  /** Where it answers, such as `http://127.0.0.1:8080`. */
  url: string;
  /** Takes no more work, finishes what it has, and closes the store. */
  stop(): Promise<void>;
}

/**
 * Opens the store, starts the server, and then the sources; models get warm in the background, and
 * `/readyz` says when they are. A read replica follows its leader instead, until it is promoted.
 * Throws BAD_CONFIG for a provider that cannot be had, whether or not a model is in use yet,
 * STORE_LOCKED, STORE_FORMAT, READ_ONLY_REPLICA for a directory that follows where no leader is
 * named, and what the address does not allow.
 */
export async function startTidemark(config: Config, backstage?: Backstage): Promise<Tidemark> {
  letHeapGrow();
  const logger = pino({ level: config.log_level, base: null });
  const runsOn = await probeProvider(config.inference.provider);
  const residentBytes = config.serving.resident_bytes;
  await backstage?.beforeOpen();
  const store = openStore(config.data, systemClock, { residentBytes });
  await refuseLeaderless(store, config);
  const registry = new Registry();
  backstage?.opened(store, registry);
  const embedMetrics = new EmbedMetrics(registry);
  const embedders = new Embedders(
    config.models,
    config.inference,
    embedMetrics,
    logger,
    config.remote_models,
  );
  const golden = new GoldenCheck({
    stored: (view, { version, created_timestamp }) => {
      const stored = store.catalogue.golden(view, version);
      return stored?.version_created === created_timestamp ? stored : undefined;
    },
    store: (view, { version }, made) => store.catalogue.putGolden(view, version, made),
    model: (name) => {
      const { isRemote, goldenCosine } = embedders.traits(name);
      return {
        madeBy: isRemote ? REMOTE : runsOn,
        leastCosine: goldenCosine ?? config.inference.golden_cosine,
      };
    },
    clock: () => store.clock(),
    onCosine: (model, cosine) => embedMetrics.golden(model, cosine),
  });
  const pipeline = new Pipeline({
    embedder: (name, isNew) => embedders.get(name, isNew),
    copyPooled: (view, version, hash, out) => store.version(view, version).copyPooled(hash, out),
    fields: (view, version) => store.version(view, version).fields,
    isLatestOnly: (view) => store.catalogue.mustGetView(view).history === 'latest_only',
    checkGolden: (view, version, embedder) => golden.check(view, version, embedder),
    textCharsMax: config.inference.text_chars,
  });
  const futureSkewMax = Math.round(config.max_future_skew_seconds * 1e6);
  const sources = new Sources({
    configs: config.sources,
    connection: config.kafka,
    store,
    futureSkewMax,
    log: logger,
    preparer: (view, version) => pipeline.preparer(view, version),
  });
  addIngestMetrics(registry, sources, pipeline);
  const sinks = new Sinks(store, config, logger);
  addSinkMetrics(registry, sinks.all);
  const follower =
    config.follow === undefined
      ? undefined
      : new Follower({ url: config.follow, store, log: logger, backoff });
  if (follower !== undefined) addReplicaMetrics(registry, follower);
  const { memory_bytes, part_rows, spine_directories } = config.exports;
  const threads = config.exports.threads ?? Math.min(availableParallelism(), THREADS_MAX);
  const joinPool = new JoinPool(threads);
  const exports = new Exports({
    root: join(config.data, 'exports'),
    store,
    runWindows: (job) => runJoin({ store, pool: joinPool, ...job }),
    settings: config.exports,
    limitsOf: (plan) => {
      const { rowsMax, ...limits } = windowLimits(plan, memory_bytes, threads);
      const lineBytesMax = config.limits.spine_line_bytes;
      return { ...limits, rowsMax: Math.min(rowsMax, part_rows ?? rowsMax), lineBytesMax };
    },
    random: Math.random,
    passed,
    log: logger,
  });
  const backfills = new Backfills({
    root: join(config.data, 'backfills'),
    store,
    pipeline,
    readFile: readTable,
    sources: config.sources,
    connection: config.kafka,
    readersOf: (view, version) => sources.readersOf(view, version),
    futureSkewMax,
    random: Math.random,
    passed,
    log: logger,
  });
  const retirement = new Retirement({
    store,
    isBound: (view, version) =>
      [...config.sources, ...config.sinks].some(
        (each) => each.feature_view === view && each.version === version,
      ),
    isRead: (view, version) =>
      exports.isReading(view, version) || backfills.isReading(view, version),
    log: logger,
  });
  const drift = new Drift({ store, bounds: config.promotion, log: logger });
  const upkeep = new Upkeep(store, config.maintenance, logger, passed, async (isClockAhead) => {
    await drift.round();
    if (!isClockAhead) await retirement.round();
    await exports.tidy();
  });
  upkeep.addMetrics(registry);
  const skew = new SkewCheck({
    store,
    sample: config.skew_check.sample,
    queueMax: config.skew_check.queue,
    random: Math.random,
    onMismatch: (row) =>
      logger.error(row, 'an answer was served that a training join answers otherwise'),
  });
  const coldWatch = new ColdWatch(() => process.resourceUsage(), passed);
  const prefetch = new Prefetch(coldWatch);
  const shadow = new Shadow({
    store,
    sample: config.shadow.sample,
    queueMax: config.shadow.queue,
    random: Math.random,
    prefetch,
  });
  const embed: Deps['embed'] = async ({ model, texts, dimensions, signal }) => {
    const name = 'name' in model ? model.name : await pipeline.modelName(model.view, model.version);
    const found = await embedders.find(name);
    const { text_chars: charsMax } = config.inference;
    return embedTexts({ name, ...found }, texts, dimensions, charsMax, signal);
  };
  const gates = new Gates({
    store,
    bounds: config.promotion,
    backlogOf: (view, version) => {
      const { records, isKnown, behind } = sources.backlogOf(view, version);
      const texts = pipeline.pending.count(view, version);
      const events = backfills.waitingOf(view, version);
      return {
        waiting: isKnown ? records + texts + events : undefined,
        message:
          `${records} records to read${named(behind)}, ${texts} texts to embed, ` +
          `${events} events of backfills`,
      };
    },
    embed: async (view, version, texts, signal) => {
      const asked = { model: { view, version }, texts, dimensions: undefined, signal };
      return (await embed(asked)).vectors;
    },
    random: Math.random,
    sleep: async (ms, signal) => sleep(ms, undefined, { signal }),
  });
  const server = await buildServer({
    store,
    prefetch,
    ...(config.skew_check.sample > 0 && { skew }),
    // Beside workers no lookup comes here.
    ...(config.shadow.sample > 0 && backstage === undefined && { shadow }),
    drift,
    limits: config.limits,
    bindModel: async (model) => pipeline.bind(model),
    addTexts: async (view, version, batch, records, signal) =>
      pipeline.addRecords(view, version, batch, records, { lane: 'rest', signal }),
    embed,
    pendingOf: (view, version) => pipeline.pending.of(view, version),
    readiness: () =>
      readiness(
        store,
        embedders,
        runsOn,
        golden,
        sources,
        sinks,
        follower,
        config.follow_max_lag_seconds,
      ),
    checkGates: async (view, version, signal) => gates.check(view, version, signal),
    replayLetters: (at, letters) => replayLetters(store, sources.readers, at, letters),
    sinkTopics: sinkTopicsOf(config),
    promote: async () => {
      await (follower ?? store.replica).promote(Math.random);
      logger.info({ snapshot: store.snapshot }, 'promoted: this server leads now');
      startLeading();
      await backfills.start();
    },
    compacted: (outcome) => upkeep.noteAsked(outcome),
    joinPool,
    exports,
    backfills,
    backfillDirectories: config.backfill.directories,
    spineDirectories: spine_directories,
    backupDirectories: config.backup.directories,
    maxFutureSkew: futureSkewMax,
    logger: { level: config.log_level, base: null },
    registry,
  });

  function startLeading(): void {
    for (const { name: view, versions } of store.catalogue.views()) {
      for (const version of Object.values(versions)) {
        if (version.model === undefined) continue;
        pipeline.modelName(view, version).catch((error: unknown) => {
          const at = { feature_view: view, version: version.version, model: version.model?.name };
          logger.error({ ...at, err: error }, 'the model cannot be used');
        });
      }
    }
    sources.start();
    sinks.start();
  }

  async function close(): Promise<void> {
    upkeep.stop();
    drift.stop();
    // A request that waits for a compaction or a backup would hold the server up.
    await store.maintenance.close();
    await server.close();
    await follower?.stop();
    await Promise.all([sources.stop(), sinks.stop(), backfills.stop()]);
    await embedders.close();
    coldWatch.stop();
    await prefetch.close();
    skew.stop();
    shadow.stop();
    await exports.stop();
    await joinPool.close();
    await store.close();
  }

  try {
    // Before anybody can ask: it must take no writes by then.
    follower?.start();
    await exports.start();
    if (follower === undefined) await backfills.start();
    const url = await (backstage === undefined
      ? listen(server, config.host, config.port)
      : server.listen({ path: backstage.socket }));
    if (follower === undefined) startLeading();
    upkeep.start();
    coldWatch.start();
    if (backstage === undefined) logger.info({ url, data: config.data }, 'serving');
    const stop = async () => {
      await server.stopping.announce();
      await close();
      logger.info('stopped');
    };
    return { url, stop };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Who is behind, in words. */
function named(sources: readonly string[]): string {
  return sources.length === 0 ? '' : ` (${sources.join(', ')})`;
}

/** More threads than that would be for joins what lookups need. */
const THREADS_MAX = 4;

/** The topics that what is stored here is published to. */
function sinkTopicsOf({ sinks, sources }: Config): string[] {
  const letters = sources.flatMap(({ topics, dead_letter_topic }) =>
    topics.flatMap((topic) => deadLetterTopicOf(dead_letter_topic, topic) ?? []),
  );
  return [...new Set([...sinks.map(({ topic }) => topic), ...letters])];
}

/** Of a model that another server runs, no more is known than that. */
const REMOTE: MadeBy = {
  provider: 'remote',
  device: 'another server',
  runtime: 'OpenAI embeddings',
};

/** µs since any moment, however the clock is set. */
function passed(): number {
  return performance.now() * MICROS_PER_MILLI;
}

/** The models that versions of the catalogue are bound to, and those of versions that are current. */
function modelsOf({ catalogue }: Store): { all: Set<string>; current: Set<string> } {
  const [all, current] = [new Set<string>(), new Set<string>()];
  for (const { versions, aliases } of catalogue.views()) {
    for (const { version, model } of Object.values(versions)) {
      if (model === undefined) continue;
      all.add(model.name);
      if (version === aliases.current) current.add(model.name);
    }
  }
  return { all, current };
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
  { provider, device }: ProviderInfo,
  golden: GoldenCheck,
  sources: Sources,
  sinks: Sinks,
  follower: Follower | undefined,
  maxLagSeconds: number,
): Readiness {
  // A refused write does not make it unready: without requests it would never find out that there
  // is room again, and reads go on.
  const message = store.failure ?? store.refusal;
  const checks: Readiness['checks'] = {
    store: { ok: store.failure === undefined, ...(message !== undefined && { message }) },
  };
  if (follower !== undefined && store.following !== undefined) {
    checks['replica'] = replicaCheck(follower.status(), maxLagSeconds);
    // What makes revisions is the leader's business.
    return { ready: Object.values(checks).every(({ ok }) => ok), checks };
  }
  const inUse = modelsOf(store);
  const names = new Set(store.catalogue.select().map((each) => nameOf(each.view, each.version)));
  /** What is done for a version that few or none ask is looked at, and holds up no request. */
  const beside = new Set<string>();
  for (const { name, state, message: why, circuit } of embedders.states()) {
    // A model that somebody only asked for is not what the server is there for.
    if (!inUse.all.has(name)) continue;
    if (!inUse.current.has(name)) beside.add(`model ${name}`);
    const { cosine, drift } = golden.stateOf(name, (version) => names.has(version)) ?? {};
    checks[`model ${name}`] = {
      ok: state === 'warm' && drift === undefined,
      state,
      ...(cosine !== undefined && { golden_cosine: cosine }),
      ...(drift !== undefined && { message: drift }),
      ...(circuit === undefined ? { provider, device } : { provider: 'remote', circuit }),
      ...(why !== undefined && { message: why }),
    };
  }
  for (const { name, state, message: why, partitions, isBeside } of sources.statuses()) {
    if (isBeside) beside.add(`source ${name}`);
    checks[`source ${name}`] = {
      ok: state === 'running',
      state,
      ...(why !== undefined && { message: why }),
      partitions,
    };
  }
  for (const sink of sinks.all) {
    const { name, state, message: why } = sink.status();
    checks[`sink ${name}`] = {
      ok: state === 'running',
      state,
      ...(why !== undefined && { message: why }),
      ...sink.waiting(),
    };
  }
  const vital = Object.keys(checks).filter((name) => !beside.has(name));
  return { ready: vital.every((name) => checks[name]!.ok), checks };
}
