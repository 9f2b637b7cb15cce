import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { shownVector } from '../../src/store/dtype.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock();
const AS_IT_WAS = { replace: false, erasedFrom: undefined, noNewerErasures: true };

function formatOf(directory: string): unknown {
  return JSON.parse(readFileSync(join(directory, 'tidemark.json'), 'utf8'));
}

/** The vector of an entity of `small`, as it is shown. */
function shown(store: Store, id: string): unknown {
  const version = store.version('small', 'v1');
  const question = {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  } as const;
  const { vectorIds } = resolveMany(version, [id], question);
  const bytes = new Uint8Array(version.vectors.vectorBytes);
  version.vectors.copyInto(vectorIds[0]!, bytes, 0);
  return shownVector(bytes, 3, 'int8');
}

test('int8 vectors keep their scales through a restart, a compaction and a backup; older programs are told', async () => {
  const directory = tempDirectory();
  let store = openStore(directory, clock.read);
  store.createView(viewOf('job'));
  expect(formatOf(directory)).toEqual({ format_version: 3 });
  store.createView(viewOf('small', 3, 'int8'));
  expect(formatOf(directory)).toEqual({ format_version: 4 });
  const rows = [
    { id: 'a', event: 1, vector: [1, -2, 127], scale: 0.25 },
    { id: 'b', event: 1, vector: [1, -2, 127], scale: 0.5 },
  ];
  await store.commit('small', 'v1', { rows: batchOf(rows, 3, 'int8') });
  expect(store.version('small', 'v1').vectors.count()).toBe(2);
  await store.compact('small', 'v1');
  const backup = join(tempDirectory(), 'backup');
  expect(await store.backup(backup)).toMatchObject({ format_version: 4 });
  await store.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
  store = openStore(directory, clock.read);
  expect(shown(store, 'a')).toEqual({ vector: [1, -2, 127], scale: 0.25 });
  expect(shown(store, 'b')).toEqual({ vector: [1, -2, 127], scale: 0.5 });
  await store.close();
  const restored = tempDirectory();
  await restoreBackup(backup, restored, AS_IT_WAS, clock.read, Math.random);
  expect(formatOf(restored)).toEqual({ format_version: 4 });
  store = openStore(restored, clock.read);
  expect(shown(store, 'b')).toEqual({ vector: [1, -2, 127], scale: 0.5 });
  await store.close();
});
