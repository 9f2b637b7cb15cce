import { join } from 'node:path';

import { expect, test } from 'vitest';

import type { Baseline } from '../../src/store/baseline.ts';
import { Catalogue } from '../../src/store/catalogue.ts';
import type { Store } from '../../src/store/store.ts';
import { modelVersion, testStore } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const BASELINE: Baseline = {
  version_created: 0,
  was_current: true,
  centroid: new Uint8Array(new Float32Array([0.6, 0.8]).buffer),
  duplicates: 0.25,
  made: 1_000,
};

function startWith(): Store {
  const store = testStore();
  store.catalogue.putBaseline('job', 'v1', BASELINE);
  return store;
}

function centroidOf(baseline: Baseline | undefined): number[] {
  return [...new Float32Array(new Uint8Array(baseline!.centroid).buffer)];
}

test('a baseline is in a backup', async () => {
  const store = startWith();
  const backup = join(tempDirectory(), 'backup');
  await store.backup(backup);
  const copied = new Catalogue(backup, 'read-only');
  const found = copied.baseline('job', 'v1');
  await copied.close();
  expect(found).toMatchObject({ was_current: true, duplicates: 0.25, made: 1_000 });
  expect(centroidOf(found)).toEqual([Math.fround(0.6), Math.fround(0.8)]);
});

test('a baseline goes with its version, and with its view', async () => {
  const store = startWith();
  store.addVersion('job', modelVersion('v2'));
  store.catalogue.putBaseline('job', 'v2', BASELINE);
  await store.retire('job', 'v2', {});
  expect(store.catalogue.baseline('job', 'v2')).toBeUndefined();
  expect(store.catalogue.baseline('job', 'v1')).toBeDefined();
  await store.dropView('job');
  expect(store.catalogue.baseline('job', 'v1')).toBeUndefined();
});
