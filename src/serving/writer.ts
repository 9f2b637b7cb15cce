import { rmSync } from 'node:fs';
import { dirname } from 'node:path';

import { startTidemark } from '../main.ts';
import type { Store } from '../store/store.ts';
import { liveAsChild } from './child.ts';
import type { Line, Scraped } from './line.ts';

/** The workers wait for nothing else, and have the supervisor end one that keeps the files. */
const OPENING_MS = 60_000;

/** The one process of a server that writes. */
liveAsChild((line) => {
  line.on('start', async ({ config, socket }) => {
    // Whoever made the folder, and would clear it away, is gone.
    process.on('exit', () => {
      if (!process.connected) rmSync(dirname(socket), { recursive: true, force: true });
    });
    const { serving, limits } = config;
    // Lookups are for the workers, and so is the time that load balancers want.
    const own = {
      ...config,
      serving: { ...serving, resident_bytes: 0 },
      limits: { ...limits, drain_seconds: 0 },
    };
    const starting = startTidemark(own, {
      socket,
      beforeOpen: async () => {
        await line.ask('opening', undefined, OPENING_MS);
      },
      opened: (store, registry) => {
        registry.setDefaultLabels({ process: 'writer' });
        line.on('scrape', async () => (await registry.getMetricsAsJSON()) as Scraped);
        line.on('done', async () => done(store));
        line.tell('open', { snapshot: store.snapshot });
        void passOn(store, line);
      },
    });
    line.on('stop', async () => {
      await (await starting).stop();
      process.exit(0);
    });
    const { url } = await starting;
    line.tell('serving', { url });
  });
});

async function passOn(store: Store, line: Line): Promise<void> {
  for (;;) {
    await store.nextMove();
    line.tell('snapshot', { snapshot: store.snapshot });
  }
}

/** A snapshot that no event of the catalogue, as it is now, is ahead of. */
async function done(store: Store): Promise<number> {
  const last = store.catalogue.lastEvent();
  while (store.snapshot < last) await store.nextMove();
  return store.snapshot;
}
