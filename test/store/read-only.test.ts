import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import type { Verification } from '../../src/store/verify.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
const NOBODY = 65_534;
const clock = new TestClock().read;

/** A data directory that was closed, and a backup of it. */
async function filled(): Promise<{ data: string; backup: string }> {
  const data = tempDirectory();
  const backup = tempDirectory();
  const store = openStore(data, clock);
  store.createView(viewOf('job'));
  for (let event = 1; event <= 100; event++) {
    const rows = batchOf([{ id: `e${event % 9}`, event, vector: [event, 1] }]);
    await store.commit('job', 'v1', { rows });
  }
  await store.erase({ entity: 'job' }, ['e3']);
  await store.backup(backup);
  await store.close();
  return { data, backup };
}

type Found = Verification & { code: number | null };

/** Runs verify in a process that cannot write to the directory. */
function verify(command: string[], directory: string, options: SpawnSyncOptions = {}): Found {
  const [program = '', ...args] = command;
  const { status, stdout, stderr } = spawnSync(
    program,
    [...args, MAIN, 'verify', '--json', '--data', directory],
    { encoding: 'utf8', ...options },
  );
  expect(String(stdout), String(stderr)).toMatch(/^\{/);
  return { ...(JSON.parse(String(stdout)) as Verification), code: status };
}

/** The command before the arguments of node, in a world where the directory is on a read-only disk. */
function onReadOnlyDisk(directory: string): string[] {
  const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
  return ['unshare', '-Urm', 'sh', '-c', script, directory, process.execPath];
}

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).toSorted();
}

/** Why there can be no read-only disk here; undefined where there can be. Where CI is true, there must. */
function diskMissing(): string | undefined {
  const [program = '', ...args] = onReadOnlyDisk(tempDirectory()).slice(0, -1);
  const { status, stderr, error } = spawnSync(program, [...args, 'true'], { encoding: 'utf8' });
  if (status === 0) return undefined;
  const why = `nothing can be mounted here: ${String(error ?? stderr)}`;
  if (process.env['CI'] === 'true') throw new Error(why);
  return why;
}

describe('on a read-only disk', () => {
  test('verify finds a data directory and a backup whole, and compares their totals', async ({
    skip,
  }) => {
    const missing = diskMissing();
    if (missing !== undefined) skip(missing);
    const { data, backup } = await filled();
    for (const directory of [data, backup]) {
      const before = filesOf(directory);
      const found = verify(onReadOnlyDisk(directory), directory);
      expect(found).toMatchObject({ code: 0, problems: [], counters: true });
      expect(found.checked.revisions).toBe(89);
      expect(filesOf(directory)).toEqual(before);
    }
  });

  test('verify finds damage there', async ({ skip }) => {
    const missing = diskMissing();
    if (missing !== undefined) skip(missing);
    const { data } = await filled();
    const file = join(data, 'views/job/v1/data.mdb');
    const bytes = readFileSync(file);
    const vector = Buffer.from(new Float32Array([50, 1]).buffer);
    for (let at = bytes.indexOf(vector); at >= 0; at = bytes.indexOf(vector, at + 1)) {
      bytes[at]! ^= 1;
    }
    writeFileSync(file, bytes);
    const found = verify(onReadOnlyDisk(data), data);
    expect(found).toMatchObject({ code: 1, problems: [{ where: 'job@v1: the vector pool' }] });
  });
});

/** Lets nobody write to the directory but root, whom nothing keeps from it. */
function protect(directory: string): SpawnSyncOptions {
  for (const name of ['', ...filesOf(directory)]) {
    const isFolder = !/\.(mdb|mdb-lock|json|lock)$/.test(name);
    chmodSync(join(directory, name), isFolder ? 0o555 : 0o444);
  }
  return process.getuid!() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
}

/**
 * Why nobody but root can run the program here, as in a folder of root's own; undefined where anybody
 * can. Where CI is true, anybody must.
 */
function programHidden(): string | undefined {
  if (process.getuid!() !== 0) return undefined;
  const asNobody = { uid: NOBODY, gid: NOBODY };
  if (spawnSync('test', ['-r', MAIN], asNobody).status === 0) return undefined;
  const why = `nobody but root can read ${MAIN}: clone into a folder that others may enter`;
  if (process.env['CI'] === 'true') throw new Error(why);
  return why;
}

test('whoever may only read a data directory verifies it all the same', async ({ skip }) => {
  const hidden = programHidden();
  if (hidden !== undefined) skip(hidden);
  const { data, backup } = await filled();
  for (const directory of [data, backup]) {
    const options = protect(directory);
    expect(verify([process.execPath], directory, options)).toMatchObject({
      code: 0,
      problems: [],
      counters: true,
    });
    chmodSync(directory, 0o755);
  }
});

test('whoever may only read a data directory sees that somebody writes to it', async ({ skip }) => {
  const hidden = programHidden();
  if (hidden !== undefined) skip(hidden);
  const { data } = await filled();
  const store = openStore(data, clock);
  const options = protect(data);
  expect(verify([process.execPath], data, options)).toMatchObject({
    problems: [],
    counters: false,
  });
  for (const name of ['', ...filesOf(data)]) chmodSync(join(data, name), 0o755);
  await store.close();
});
