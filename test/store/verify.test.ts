import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const clock = new TestClock().read;

async function filled(): Promise<string> {
  const directory = tempDirectory();
  const store = openStore(directory, clock);
  store.createView(viewOf('job', 16));
  const random = seeded(1);
  for (let commit = 0; commit < 20; commit++) {
    const rows = Array.from({ length: 50 }, () => ({
      id: `job-${random(3)}`,
      event: random(10_000),
      vector: random(9) === 0 ? null : Array.from({ length: 16 }, () => random(1_000) / 7),
    }));
    await store.commit('job', 'v1', { rows: batchOf(rows, 16) });
  }
  await store.close();
  return directory;
}

test('what was written verifies, down to the last counter', async () => {
  const directory = await filled();
  const { problems, checked, counters } = await verifyStore(directory);
  expect(problems).toEqual([]);
  expect(checked.revisions).toBeGreaterThan(900);
  expect(checked.chunks).toBeGreaterThan(6);
  expect(counters).toBe(true);
});

test('a store that is being written verifies too, without its totals', async () => {
  const directory = await filled();
  const store = openStore(directory, clock);
  expect(await verifyStore(directory)).toMatchObject({ problems: [], counters: false });
  await store.close();
});

test('a flipped byte in a vector or a timeline is found, said where, and never served', async () => {
  const directory = await filled();
  const file = join(directory, 'views/job/v1/data.mdb');
  const clean = readFileSync(file);
  const store = openStore(directory, clock);
  const vector = new Uint8Array(64);
  store.version('job', 'v1').vectors.copyInto(5, vector, 0);
  await store.close();
  const at = clean.indexOf(vector);
  const dirty = Buffer.from(clean);
  dirty[at + 9]! ^= 1;
  writeFileSync(file, dirty);
  const { problems } = await verifyStore(directory);
  expect(problems).toMatchObject([{ where: 'job@v1: the vector pool' }]);
  expect(problems[0]!.what).toContain('vector 5 does not have the checksum');
  const reopened = openStore(directory, clock);
  expect(() => reopened.version('job', 'v1').vectors.copyInto(5, vector, 0)).toThrow('checksum');
  await reopened.close();
});

test('a directory that is none is refused', async () => {
  await expect(verifyStore(tempDirectory())).rejects.toThrow('not a Tidemark data directory');
});
