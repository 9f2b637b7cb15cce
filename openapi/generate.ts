import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Registry } from 'prom-client';

import { limitsSchema } from '../src/api/limits.ts';
import { buildServer } from '../src/api/server.ts';
import { systemClock } from '../src/ground/time.ts';
import { openStore } from '../src/store/store.ts';
import { Exports } from '../src/timetravel/exports/exports.ts';
import { JoinPool } from '../src/timetravel/join/pool.ts';

async function unused(): Promise<never> {
  throw new Error('documenting serves no request');
}

function never(): never {
  throw new Error('documenting serves no request');
}

async function* none(): AsyncGenerator<never> {}

/** Writes what the server says of itself to openapi.json, beside this file. */
const directory = mkdtempSync(join(tmpdir(), 'tidemark-openapi-'));
const store = openStore(directory, systemClock);
const joinPool = new JoinPool(1);
try {
  const server = await buildServer({
    store,
    limits: limitsSchema.parse({}),
    bindModel: unused,
    addTexts: unused,
    embed: unused,
    pendingOf: () => undefined,
    readiness: () => ({ ready: true, checks: {} }),
    checkGates: async () => [],
    replayLetters: unused,
    sinkTopics: [],
    compacted: () => {},
    promote: unused,
    joinPool,
    exports: new Exports({
      root: join(directory, 'exports'),
      store,
      runWindows: none,
      settings: { concurrent: 1, queued: 0, keep_seconds: 1, spine_bytes: 1 },
      limitsOf: () => ({ rowsMax: 1, bytesMax: 1, lineBytesMax: 1 }),
      random: Math.random,
      passed: () => 0,
      log: console,
    }),
    backfills: { submit: unused, plan: unused, list: () => [], mustGet: never, remove: unused },
    backfillDirectories: [],
    spineDirectories: [],
    backupDirectories: [],
    maxFutureSkew: 0,
    logger: false,
    registry: new Registry(),
  });
  const file = join(import.meta.dirname, 'openapi.json');
  writeFileSync(file, `${JSON.stringify(server.swagger(), null, 2)}\n`);
  await server.close();
  console.log(`wrote ${file}`);
} finally {
  await joinPool.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
}
