import { join } from 'node:path';

import type { Store } from '../../src/store/store.ts';
import type { ExportSettings } from '../../src/timetravel/exports/asked.ts';
import { Exports } from '../../src/timetravel/exports/exports.ts';
import type { RunWindows } from '../../src/timetravel/exports/job.ts';
import { seeded } from '../model/random.ts';

interface Settings extends Partial<ExportSettings> {
  /** Errors that were logged. */
  failures?: unknown[];
}

/** Exports of a store, in a folder of its data directory; parts have two rows. */
export function testExports(
  store: Store,
  directory: string,
  runWindows: RunWindows,
  { failures = [], ...settings }: Settings = {},
): Exports {
  const random = seeded(1);
  let passed = 0;
  return new Exports({
    root: join(directory, 'exports'),
    store,
    runWindows,
    settings: { concurrent: 2, queued: 2, keep_seconds: 60, spine_bytes: 2 ** 20, ...settings },
    limitsOf: () => ({ rowsMax: 2, bytesMax: 2 ** 20, lineBytesMax: 2 ** 16 }),
    random: () => random(2 ** 30) / 2 ** 30,
    passed: () => (passed += 1_000),
    log: { info: () => {}, warn: () => {}, error: (what) => void failures.push(what) },
  });
}
