import { expect, onTestFinished, test } from 'vitest';

import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { follow } from '../model/following.ts';
import { answersOf, differences } from '../support/answers.ts';
import { batchOf, TestClock, testStore } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock().read;
const AS_IT_WAS = { replace: false, erasedFrom: undefined, noNewerErasures: true };
const ASKED = { ids: ['a', 'b', 'c', 'd'], moments: [0, 1, 2, 3] };

function opened(directory: string): Store {
  const store = openStore(directory, clock);
  onTestFinished(async () => store.close());
  return store;
}

async function push(store: Store, id: string, event: number): Promise<void> {
  await store.commit('job', 'v1', { rows: batchOf([{ id, event, vector: [event, 1] }]) });
}

test('a read replica is backed up in its leader’s place, and what is restored leads (A9)', async () => {
  const leader = testStore();
  for (const [at, id] of ['a', 'b', 'a', 'c'].entries()) await push(leader, id, at);
  await leader.erase({ entity: 'job' }, ['c']);
  const replica = opened(tempDirectory());
  await follow(leader, replica, 100);
  const backup = tempDirectory();
  const { snapshot, lineage } = await replica.backup(backup);
  expect([snapshot, lineage]).toEqual([leader.snapshot, leader.catalogue.lineage()]);
  const directory = tempDirectory();
  await restoreBackup(backup, directory, AS_IT_WAS, clock, Math.random);
  const restored = opened(directory);
  expect(restored.following).toBeUndefined();
  const asked = { ...ASKED, snapshot };
  expect(differences(answersOf(leader, asked), answersOf(restored, asked))).toEqual([]);
  await push(restored, 'd', 4);
});

test('a new read replica begins with a backup of its leader, and follows on from there (A9)', async () => {
  const leader = testStore();
  for (const [at, id] of ['a', 'b', 'a'].entries()) await push(leader, id, at);
  const backup = tempDirectory();
  await leader.backup(backup);
  for (const [at, id] of ['a', 'd'].entries()) await push(leader, id, 10 + at);
  await leader.erase({ entity: 'job' }, ['b']);
  const directory = tempDirectory();
  await restoreBackup(backup, directory, AS_IT_WAS, clock, Math.random);
  const replica = opened(directory);
  await follow(leader, replica, 2);
  expect(replica.snapshot).toBe(leader.snapshot);
  const asked = { ...ASKED, snapshot: leader.snapshot };
  expect(differences(answersOf(leader, asked), answersOf(replica, asked))).toEqual([]);
  await replica.close();
  expect((await verifyStore(directory)).problems).toEqual([]);
});
