import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { ChangesEncoder } from '../../src/store/change-frames.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

/** A store that has read its one vector once, found it whole, and whose disk has lost a bit since. */
async function damagedSince(): Promise<{ store: Store; directory: string }> {
  const directory = tempDirectory();
  const store = openStore(directory, new TestClock().read);
  onTestFinished(async () => store.close());
  store.createView(viewOf('job', 16));
  const vector = Array.from({ length: 16 }, (_, at) => at + 0.25);
  await store.commit('job', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector }], 16) });
  const { vectors, environment } = store.version('job', 'v1');
  vectors.copyInto(0, new Uint8Array(64), 0);
  const file = openSync(environment.file, 'r+');
  const at = readFileSync(file).indexOf(Buffer.from(Float32Array.from(vector).buffer));
  writeSync(file, Buffer.from([0x01]), 0, 1, at);
  closeSync(file);
  return { store, directory };
}

// Each writes it elsewhere, under a checksum that would then be right.
test.each<[string, (store: Store, directory: string) => Promise<unknown>]>([
  ['compaction', async (store) => store.compact('job', 'v1')],
  ['a backup', async (store) => store.backup(join(tempDirectory(), 'copy'))],
  [
    'the feed of replicas',
    async (store) => {
      const version = store.version('job', 'v1');
      new ChangesEncoder().encode(version, version.log.read(0, store.snapshot, 10));
    },
  ],
])(
  'a vector that was whole when it was first read is not taken for whole by %s',
  async (_, copy) => {
    const { store, directory } = await damagedSince();
    await expect(copy(store, directory)).rejects.toThrow(
      expect.objectContaining({ code: 'STORE_CORRUPT' }),
    );
  },
);
