import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { expect, test } from 'vitest';

import { restoreBackup } from '../../src/store/restore.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import type { Order } from './restore-victim.ts';

const VICTIM = join(import.meta.dirname, 'restore-victim.ts');
const clock = new TestClock().read;

/** What of its entities a store has: those that were erased are written in capitals. */
async function contentOf(directory: string): Promise<string> {
  const store = openStore(directory, clock);
  try {
    const { erasures, timelines } = store.version('job', 'v1');
    return ['a', 'b', 'c', 'd']
      .map((id) =>
        erasures.has(id) ? id.toUpperCase() : timelines.ids(undefined, 9).includes(id) ? id : '-',
      )
      .join('');
  } finally {
    await store.close();
  }
}

async function push(store: Store, ...ids: string[]): Promise<void> {
  const rows = batchOf(ids.map((id) => ({ id, event: 1, vector: [1, 2] })));
  await store.commit('job', 'v1', { rows });
}

/** A store, and a backup of it from before `b` was erased, `c` was erased and lifted, `d` was pushed. */
async function scene(): Promise<{ data: string; backup: string }> {
  const data = tempDirectory();
  const backup = tempDirectory();
  const store = openStore(data, clock);
  store.createView(viewOf('job'));
  await push(store, 'a', 'b', 'c');
  await store.backup(backup);
  await store.erase({ entity: 'job' }, ['b', 'c']);
  await store.liftErasure({ entity: 'job' }, ['c']);
  await push(store, 'd');
  await store.close();
  return { data, backup };
}

/** Restores in another process, which is killed at a step. False when it came to its end. */
async function kill(order: Order): Promise<boolean> {
  const child = spawn(process.execPath, [VICTIM, JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [errors, [code, signal]] = await Promise.all([
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null, string | null]>,
  ]);
  if (code === 0) return false;
  expect(signal, errors).toBe('SIGKILL');
  return true;
}

test('a restore that is killed at any step leaves nothing that could be taken for a store, or the whole (A8)', async () => {
  const { data, backup } = await scene();
  const seen = new Set<string>();
  for (let step = 1; ; step++) {
    const directory = join(tempDirectory(), 'data');
    const isKilled = await kill({ backup, directory, replace: false, erasedFrom: data, step });
    const names = existsSync(directory) ? readdirSync(directory) : [];
    const left = names.filter((name) => name !== 'writer.lock');
    const isBegun = left.includes('restoring');
    seen.add(left.length === 0 ? 'nothing' : isBegun ? 'begun' : 'decided');
    if (isBegun) {
      expect(() => openStore(directory, clock)).toThrow('was broken off: restore it again');
    }
    if (left.length === 0 || isBegun) {
      const settings = { replace: false, erasedFrom: data, noNewerErasures: false };
      await restoreBackup(backup, directory, settings, clock, Math.random);
    }
    // To open it finishes what was decided.
    expect(await contentOf(directory)).toBe('aB--');
    expect((await verifyStore(directory)).problems).toEqual([]);
    if (!isKilled) break;
  }
  expect([...seen]).toEqual(['nothing', 'begun', 'decided']);
});

test('a restore in the place of a store, killed at any step, leaves the one or the other (A8)', async () => {
  const { data, backup } = await scene();
  const seen = new Set<string>();
  for (let step = 1; ; step++) {
    const directory = tempDirectory();
    cpSync(data, directory, { recursive: true });
    const isKilled = await kill({ backup, directory, replace: true, step });
    const content = await contentOf(directory);
    seen.add(content);
    expect(readdirSync(directory)).not.toContain('restoring');
    expect((await verifyStore(directory)).problems).toEqual([]);
    const settings = { replace: true, erasedFrom: undefined, noNewerErasures: false };
    await restoreBackup(backup, directory, settings, clock, Math.random);
    expect(await contentOf(directory)).toBe('aB--');
    if (!isKilled) break;
  }
  expect([...seen]).toEqual(['aB-d', 'aB--']);
});
