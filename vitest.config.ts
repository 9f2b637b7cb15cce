import { join } from 'node:path';

import { defineConfig } from 'vitest/config';

/** What processes and threads that tests start have compiled: half of their start is that. */
const COMPILED = join(import.meta.dirname, '.cache/compiled');

/** One project a kind of proof; `npm test` runs them all. */
function project(name: string, folders: string[], seconds: number, extra: object = {}) {
  return {
    test: {
      name,
      include: folders.map((folder) => `test/${folder}/**/*.test.ts`),
      testTimeout: seconds * 1000,
      hookTimeout: seconds * 1000,
      env: { NODE_COMPILE_CACHE: COMPILED },
      ...extra,
    },
  };
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: ['default', './test/counts-reporter.ts'],
    projects: [
      project(
        'unit',
        [
          'ground',
          'store',
          'timetravel',
          'api',
          'ingest',
          'cli',
          'client',
          'rollout',
          'serving',
          'conformance',
          'bench',
        ],
        60,
      ),
      project('model', ['model'], 300),
      project('crash', ['crash'], 300),
      project('kafka', ['kafka'], 300, { globalSetup: ['test/kafka/broker-setup.ts'] }),
      project('e2e', ['e2e'], 300),
      project('trainers', ['trainers'], 1_800),
      project('spark', ['spark'], 600),
      project('feast', ['feast'], 600),
    ],
  },
});
