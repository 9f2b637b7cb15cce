import { expect, test } from 'vitest';

import { JoinPool, type LentThread } from '../../../src/timetravel/join/pool.ts';
import { testPool } from '../../support/joins.ts';

/** Asks for a thread for each of the owners in turn, and notes who was given one. */
function asking(pool: JoinPool, owners: readonly object[]) {
  const given: number[] = [];
  const lent: LentThread[] = [];
  const all = owners.map(async (owner, at) => {
    const thread = await pool.lend(owner);
    given.push(at);
    lent.push(thread);
  });
  return { given, lent, all };
}

test('who comes second is given the next thread, and not when the first has all that it asks for', async () => {
  const pool = testPool();
  const [first, second] = [{}, {}];
  const { given, lent } = asking(pool, [first, first, first, first, second, second]);
  await expect.poll(() => given).toEqual([0, 1]);
  lent[0]!.giveBack();
  await expect.poll(() => given).toEqual([0, 1, 4]);
  // One each: whoever has waited longer.
  lent[1]!.giveBack();
  await expect.poll(() => given).toEqual([0, 1, 4, 2]);
  lent[2]!.giveBack();
  await expect.poll(() => given).toEqual([0, 1, 4, 2, 5]);
  lent[3]!.giveBack();
  await expect.poll(() => given).toEqual([0, 1, 4, 2, 5, 3]);
});

test('a join is given threads in the order that it asks for them', async () => {
  const pool = testPool(1);
  const owner = {};
  const { given, lent } = asking(pool, [owner, owner, owner]);
  for (const count of [1, 2, 3]) {
    await expect.poll(() => given.length).toBe(count);
    lent[count - 1]!.giveBack();
  }
  expect(given).toEqual([0, 1, 2]);
});

test('a thread that was given back is lent again, one that has died is not', async () => {
  const pool = testPool(1);
  const first = await pool.lend({});
  first.giveBack();
  const second = await pool.lend({});
  expect(second.thread).toBe(first.thread);
  await second.thread.end();
  await expect.poll(() => second.thread.isAlive).toBe(false);
  second.giveBack();
  const third = await pool.lend({});
  expect(third.thread).not.toBe(first.thread);
  third.giveBack();
});

test('a thread that dies while nobody has it is not lent', async () => {
  const pool = testPool(1);
  const first = await pool.lend({});
  first.giveBack();
  await first.thread.end();
  await expect.poll(() => first.thread.isAlive).toBe(false);
  const second = await pool.lend({});
  expect(second.thread.isAlive).toBe(true);
  second.giveBack();
});

test('a pool that closes refuses who waits and who comes, and ends its threads', async () => {
  const pool = new JoinPool(1);
  const { lent, all } = asking(pool, [{}, {}]);
  await expect.poll(() => lent.length).toBe(1);
  const refused = expect.objectContaining({ code: 'SHUTTING_DOWN' });
  await Promise.all([expect(all[1]).rejects.toThrow(refused), pool.close()]);
  expect(lent[0]!.thread.isAlive).toBe(false);
  lent[0]!.giveBack();
  await expect(pool.lend({})).rejects.toThrow(refused);
});
