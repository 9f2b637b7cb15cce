import type { FastifyInstance } from 'fastify';
import { AggregatorRegistry, Registry } from 'prom-client';

import { listen } from '../api/listen.ts';
import { buildReader } from '../api/server.ts';
import type { Config } from '../config.ts';
import { letHeapGrow } from '../ground/heap.ts';
import { MICROS_PER_MILLI, systemClock } from '../ground/time.ts';
import { Shadow } from '../rollout/shadow.ts';
import { ReadOnlyStore } from '../store/read-only-store.ts';
import { ColdWatch } from '../timetravel/cold/cold-watch.ts';
import { Prefetch } from '../timetravel/cold/prefetch.ts';
import { waitForSnapshots } from './awaited.ts';
import { liveAsChild } from './child.ts';
import type { Line, Scraped } from './line.ts';
import { answerByWriter, readinessOf } from './to-writer.ts';

/** How often it looks whether compaction has put other files in the place of those that it reads. */
const LOOK_MS = 1_000;
const SCRAPE_MS = 2_000;
const SETTLE_MS = 5_000;
const REACH_MS = 2_000;
/** The first writer has the files open by then, or has said why not. */
const OPEN_MS = 60_000;

/** One of the processes of a server that answer lookups, and pass all else on to the writer. */
liveAsChild((line) => {
  letHeapGrow();
  const port = Promise.withResolvers<number>();
  line.on('listen', (told) => port.resolve(told.port));
  line.on('start', async ({ config, socket, worker }) => {
    const { resident_bytes, workers } = config.serving;
    const residentBytes = Math.floor(resident_bytes / workers);
    const store = new ReadOnlyStore(config.data, systemClock, { residentBytes });
    let last = Promise.resolve();
    line.on('open', async ({ snapshot }) => {
      await (last = last.then(async () => store.open(snapshot)));
    });
    line.on('snapshot', async ({ snapshot }) => store.follow(snapshot));
    line.on('close', async () => {
      await (last = last.then(async () => store.close()));
      return true;
    });
    line.on('reach', async ({ snapshot }) => {
      await store.reached(snapshot, REACH_MS);
      return true;
    });
    await serve(line, store, { config, socket, port: port.promise, worker });
  });
});

interface Place {
  config: Config;
  /** The writer's. */
  socket: string;
  port: Promise<number>;
  worker: number;
}

async function serve(
  line: Line,
  store: ReadOnlyStore,
  { config, socket, port, worker }: Place,
): Promise<void> {
  const { limits, log_level: level, host } = config;
  const name = `worker-${worker}`;
  const registry = new Registry();
  registry.setDefaultLabels({ process: name });
  const coldWatch = new ColdWatch(
    () => process.resourceUsage(),
    () => performance.now() * MICROS_PER_MILLI,
  );
  const prefetch = new Prefetch(coldWatch);
  const { sample, queue: queueMax } = config.shadow;
  const { random } = Math;
  const shadow = new Shadow({ store, sample, queueMax, random, process: name, prefetch });
  let server: FastifyInstance | undefined;
  line.on('scrape', async () => (await registry.getMetricsAsJSON()) as Scraped);
  line.on('stop', async () => {
    await server?.stopping.announce();
    await server?.close();
    process.exit(0);
  });
  server = await buildReader(
    {
      store,
      prefetch,
      ...(sample > 0 && { shadow }),
      limits,
      pendingOf: () => undefined,
      readiness: async () => readinessOf(socket, store.isOpen),
      scrape: async () => textOf((await line.ask('scrapeAll', undefined, SCRAPE_MS)) ?? []),
      registry,
      logger: { level, base: { process: name } },
    },
    (reader) => waitForSnapshots(reader, store),
    (reader) =>
      answerByWriter(reader, socket, async () => {
        await line.ask('settle', undefined, SETTLE_MS);
      }),
  );
  await store.reached(0, OPEN_MS);
  const url = await listen(server, host, await port, true);
  // What failed is tried again, here a second later, and told with the next snapshot.
  setInterval(() => void store.follow(0).catch(() => {}), LOOK_MS);
  coldWatch.start();
  line.tell('serving', { url });
}

/** The metrics of all processes, of which each says in a label which one it is. */
async function textOf(all: Scraped[]): Promise<string> {
  return AggregatorRegistry.aggregate(all).metrics();
}
