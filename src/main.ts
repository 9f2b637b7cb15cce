import { pino } from 'pino';
import { Registry } from 'prom-client';

import type { Readiness } from './api/deps.ts';
import { buildServer } from './api/server.ts';
import type { Config } from './config.ts';
import { systemClock } from './ground/time.ts';
import { Embedders } from './ingest/embedders.ts';
import { KafkaSource } from './ingest/kafka/source.ts';
import { addIngestMetrics } from './ingest/metrics.ts';
import { Pipeline } from './ingest/pipeline.ts';
import { openStore, type Store } from './store/store.ts';

/** A running Tidemark: one process, one data directory. */
export interface Tidemark {
  /** Where it answers, such as `http://127.0.0.1:8080`. */
  url: string;
  /** Takes no more work, finishes what it has, and closes the store. */
  stop(): Promise<void>;
}

/**
 * Opens the store, starts the server, and then the sources; models get warm in the background, and
 * `/readyz` says when they are.
 * Throws STORE_LOCKED, STORE_FORMAT, and what the address does not allow.
 */
export async function startTidemark(config: Config): Promise<Tidemark> {
  const logger = pino({ level: config.log_level, base: null });
  const store = openStore(config.data, systemClock);
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
  const server = await buildServer({
    store,
    limits: config.limits,
    bindModel: async ({ name, prompt }) => pipeline.bind(name, prompt),
    addTexts: async (view, version, batch, inputs) =>
      pipeline.addTexts(view, version, batch, inputs),
    readiness: () => readiness(store, embedders, sources),
    maxFutureSkew: futureSkewMax,
    logger: { level: config.log_level, base: null },
    registry,
  });

  async function stop(): Promise<void> {
    await server.close();
    await Promise.all(sources.map(async (source) => source.stop()));
    await embedders.close();
    await store.close();
    logger.info('stopped');
  }

  try {
    const url = await server.listen({ host: config.host, port: config.port });
    for (const name of modelsOf(store)) {
      embedders.get(name).catch((error: unknown) => {
        logger.error({ model: name, err: error }, 'the model cannot be used');
      });
    }
    for (const source of sources) source.start();
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

function readiness(store: Store, embedders: Embedders, sources: readonly KafkaSource[]): Readiness {
  // A refused write does not make it unready: without requests it would never find out that there
  // is room again, and reads go on.
  const message = store.failure ?? store.refusal;
  const checks: Readiness['checks'] = {
    store: { ok: store.failure === undefined, ...(message !== undefined && { message }) },
  };
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
