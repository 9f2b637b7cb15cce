import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, viewOf } from '../support/store.ts';

const DISK_BYTES = 8 * 2 ** 20;
const DIM = 256;
const SCOPE = { entity: 'job' };

function mount(...args: string[]): boolean {
  return spawnSync('mount', args, { stdio: 'ignore' }).status === 0;
}

/** Whether this test may have a disk of its own, as root may. */
const canMount = (() => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-disk-'));
  const isMounted = mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder);
  if (isMounted) spawnSync('umount', [folder]);
  rmSync(folder, { recursive: true });
  return isMounted;
})();

describe.skipIf(!canMount)('on a small disk', () => {
  let disk = '';
  let store: Store;
  let event = 0;
  let stored = 0;
  const directory = (): string => join(disk, 'data');
  const ballast = (): string => join(disk, 'ballast');

  function open(): Store {
    return openStore(directory(), () => micros(event + 1));
  }

  async function push(rows: number): Promise<void> {
    const batch = Array.from({ length: rows }, () => ({
      id: `e${++event % 20}`,
      event,
      vector: Array.from({ length: DIM }, (_, at) => event + at),
    }));
    await store.commit('job', 'v1', { rows: batchOf(batch, DIM) });
    stored += rows;
  }

  /** Leaves so many bytes of the disk free. */
  function fill(left: number): void {
    const probe = spawnSync('df', ['--output=avail', '-B1', disk], { encoding: 'utf8' });
    const free = Number(probe.stdout.trim().split('\n')[1]);
    writeFileSync(ballast(), Buffer.alloc(Math.max(0, free - left)));
  }

  /** Reads go on, nothing lies about, and with room again so do writes; verify finds nothing. */
  async function expectRecovery(): Promise<void> {
    const { log } = store.version('job', 'v1');
    expect(log.read(0, store.snapshot, 1e6)).toHaveLength(stored);
    rmSync(ballast(), { force: true });
    await push(10);
    const { number } = store.catalogue.generation('job', 'v1');
    const left = readdirSync(join(directory(), 'views/job/v1'));
    expect(left.filter((name) => !name.startsWith('data.mdb'))).toEqual(
      number === 0 ? [] : [`g${number}`],
    );
    await store.close();
    const { problems, checked } = await verifyStore(directory());
    expect({ problems, revisions: checked.revisions }).toEqual({ problems: [], revisions: stored });
    store = open();
  }

  beforeEach(async () => {
    disk = mkdtempSync(join(tmpdir(), 'tidemark-disk-'));
    expect(mount('-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk)).toBe(true);
    event = 0;
    stored = 0;
    store = open();
    store.createView(viewOf('job', DIM));
    for (let pushes = 0; pushes < 10; pushes++) await push(100);
  });

  afterEach(async () => {
    await store.close();
    spawnSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  });

  test('that fills up, pushes are refused clearly and nothing acknowledged is lost (A9)', async () => {
    fill(300_000);
    await expect(
      (async () => {
        for (;;) await push(100);
      })(),
    ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(store.refusal).toContain('look at the disk');
    await expectRecovery();
    expect(store.refusal).toBeUndefined();
  });

  test('that fills up, a compaction is given up and the old files serve', async () => {
    fill(500_000);
    await expect(store.compact('job', 'v1')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expectRecovery();
    rmSync(ballast(), { force: true });
    expect(store.catalogue.generation('job', 'v1').number).toBe(0);
    await store.compact('job', 'v1');
    expect(store.catalogue.generation('job', 'v1').number).toBe(1);
  });

  test('that is full, an erasure holds or is refused, and is finished when there is room (A8)', async () => {
    fill(0);
    const said = await store.erase(SCOPE, ['e3']).then(
      () => 'erased',
      (error: { code: string }) => error.code,
    );
    expect(['erased', 'STORE_UNAVAILABLE']).toContain(said);
    rmSync(ballast(), { force: true });
    const receipt = await store.erase(SCOPE, ['e3']);
    await store.maintain({ deadShare: 1, erasedWithin: Infinity });
    expect(store.catalogue.mustGetReceipt(receipt.id).removed_at).toBeDefined();
    expect(store.version('job', 'v1').counters()).toMatchObject({ entities: 19, revisions: 950 });
    stored = 950;
    while (event % 20 < 3) event++;
    await expectRecovery();
  });

  test('that is full, a horizon moves or is refused, and moves when there is room (A10)', async () => {
    fill(0);
    await store.advanceHorizon('job', 500).catch((error: { code: string }) => {
      expect(error.code).toBe('STORE_UNAVAILABLE');
    });
    rmSync(ballast(), { force: true });
    await store.advanceHorizon('job', 600);
    expect(store.version('job', 'v1').horizon.moment).toBe(600);
    await expectRecovery();
  });

  test('that is full, opening says so, and finds all that was stored when there is room', async () => {
    await store.close();
    fill(0);
    expect(open).toThrow('No space left on device');
    rmSync(ballast(), { force: true });
    store = open();
    await expectRecovery();
  });

  test('that is read-only, opening says so', async () => {
    await store.close();
    expect(mount('-o', 'remount,ro', disk)).toBe(true);
    expect(open).toThrow(/must be on a disk that can be written/);
    expect(mount('-o', 'remount,rw', disk)).toBe(true);
    expect(existsSync(directory())).toBe(true);
    store = open();
  });
});
