import { setImmediate } from 'node:timers/promises';

import { expect, test } from 'vitest';

import { batchOf, testStore } from '../support/store.ts';

test('a change of the catalogue gives no snapshot that lacks a commit on its way (A9)', async () => {
  const store = testStore();
  const { log } = store.version('job', 'v1');
  for (let run = 1; run <= 20; run++) {
    const before = store.snapshot;
    const rows = Array.from({ length: 200 }, (_, at) => ({
      id: 'a',
      event: run * 1_000 + at,
      vector: [run, at],
    }));
    const commit = store.commit('job', 'v1', { rows: batchOf(rows) });
    // The commit has its seqs now, and lmdb is at work.
    await setImmediate();
    store.changeView('job', { max_age: run });
    await Promise.resolve();
    const snapshot = store.snapshot;
    const seen = log.read(before, snapshot, 1_000).length;
    await commit;
    expect(log.read(before, snapshot, 1_000)).toHaveLength(seen);
  }
});
