import { deepStrictEqual, ok, rejects, throws } from 'node:assert/strict';
/**
 * A store on a disk that gets full, or read-only, in a process of its own, since lmdb says what it thinks of that
 * on stderr: `node disk-child.ts <folder of the disk> <what to try>`. Ends with 0 when all was as it
 * is to be.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

import { micros } from '../../src/ground/time.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { batchOf, viewOf } from '../support/store.ts';

const DIM = 64;
const ENTITIES = 50;
const UNAVAILABLE = { code: 'STORE_UNAVAILABLE' };

class Disk {
  readonly data: string;
  readonly backup: string;
  private filler: string;
  private folder: string;

  constructor(folder: string) {
    this.folder = folder;
    this.data = join(folder, 'data');
    this.backup = join(folder, 'backup');
    this.filler = join(folder, 'filler');
  }

  /** Leaves so many bytes of it. */
  fill(left = 0): void {
    const { bavail, bsize } = statfsSync(this.folder);
    const filler = openSync(this.filler, 'a');
    writeSync(filler, Buffer.alloc(bavail * bsize - left));
    closeSync(filler);
  }

  empty(): void {
    rmSync(this.filler);
  }

  remount(mode: 'ro' | 'rw'): void {
    execFileSync('mount', ['-o', `remount,${mode}`, this.folder]);
  }
}

let event = 0;

async function push(store: Store, rows: number): Promise<void> {
  const all = Array.from({ length: rows }, () => {
    event++;
    return { id: `e${event % ENTITIES}`, event, vector: Array<number>(DIM).fill(event) };
  });
  await store.commit('job', 'v1', { rows: batchOf(all, DIM) });
}

/** What is answered about an entity: its status, and why. */
function answerOf(store: Store, id: string): (string | null | undefined)[] {
  const { statuses, reasons } = resolveMany(store.version('job', 'v1'), [id], {
    asOf: undefined,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  });
  return [STATUSES[statuses[0]!], REASONS[reasons[0]!]];
}

const PRESENT = ['PRESENT', null];
const ERASED = ['NOT_FOUND', 'ERASED'];
const scope = { entity: 'job' };

function revisions(store: Store): number {
  return store.version('job', 'v1').counters().revisions;
}

const ATTEMPTS: Record<string, (store: Store, disk: Disk) => Promise<void>> = {
  async push(store, disk) {
    const stored = revisions(store);
    disk.fill();
    await rejects(push(store, 100), UNAVAILABLE);
    await rejects(push(store, 100), UNAVAILABLE);
    ok(store.refusal);
    deepStrictEqual(store.failure, undefined);
    deepStrictEqual(answerOf(store, 'e1'), PRESENT);
    disk.empty();
    await push(store, 100);
    deepStrictEqual(store.refusal, undefined);
    deepStrictEqual(revisions(store), stored + 100);
  },
  async erase(store, disk) {
    disk.fill();
    await rejects(store.erase(scope, ['e1']), UNAVAILABLE);
    deepStrictEqual(answerOf(store, 'e1'), PRESENT);
    disk.empty();
    const { removed_at } = await store.erase(scope, ['e1']);
    ok(removed_at);
    deepStrictEqual(answerOf(store, 'e1'), ERASED);
  },
  async removal(store, disk) {
    // Room for the note of the erasure, and none for what it does to the files.
    disk.fill(2 ** 20 + 16_384);
    const receipt = await store.erase(scope, ['e1']);
    deepStrictEqual(receipt.removed_at, undefined);
    deepStrictEqual(answerOf(store, 'e1'), ERASED);
    deepStrictEqual(answerOf(store, 'e2'), PRESENT);
    disk.empty();
    await store.maintain({ deadShare: 2, erasedWithin: 0 });
    const done = store.catalogue.mustGetReceipt(receipt.id);
    ok(done.removed_at);
    ok(store.compactedAt(done));
  },
  async compaction(store, disk) {
    const stored = revisions(store);
    for (const left of [0, 1_300_000, 1_600_000]) {
      disk.fill(left);
      await rejects(store.compact('job', 'v1'), UNAVAILABLE);
      deepStrictEqual(readdirSync(join(disk.data, 'views/job/v1')), ['data.mdb', 'data.mdb-lock']);
      deepStrictEqual(answerOf(store, 'e1'), PRESENT);
      disk.empty();
    }
    await store.compact('job', 'v1');
    deepStrictEqual(readdirSync(join(disk.data, 'views/job/v1')), ['g1']);
    deepStrictEqual(revisions(store), stored);
  },
  async catalogue(store, disk) {
    disk.fill();
    await rejects(store.advanceHorizon('job', 500), UNAVAILABLE);
    throws(() => store.changeView('job', { max_age: 5 }), UNAVAILABLE);
    throws(() => store.createView(viewOf('member')), UNAVAILABLE);
    await rejects(store.dropView('job'), UNAVAILABLE);
    deepStrictEqual(answerOf(store, 'e1'), PRESENT);
    const { horizon, max_age } = store.catalogue.mustGetView('job');
    deepStrictEqual({ horizon, max_age }, { horizon: undefined, max_age: undefined });
    disk.empty();
    await store.advanceHorizon('job', 500);
    store.changeView('job', { max_age: 5 });
    store.createView(viewOf('member'));
    deepStrictEqual(
      store.catalogue.views().map((view) => [view.name, view.horizon?.moment, view.max_age]),
      [
        ['job', 500, 5],
        ['member', undefined, undefined],
      ],
    );
  },
  async backup(store, disk) {
    disk.fill(1_500_000);
    await rejects(store.backup(disk.backup), UNAVAILABLE);
    deepStrictEqual(existsSync(disk.backup), false);
    await push(store, 1);
    disk.empty();
    await store.backup(disk.backup);
    deepStrictEqual((await verifyStore(disk.backup)).problems, []);
  },
  async opening(store, disk) {
    await store.close();
    disk.fill();
    throws(() => openStore(disk.data, clock), UNAVAILABLE);
    disk.empty();
    const again = openStore(disk.data, clock);
    deepStrictEqual(answerOf(again, 'e1'), PRESENT);
    await push(again, 1);
    await again.close();
  },
  async reading(store, disk) {
    await store.close();
    disk.remount('ro');
    const refusal = { ...UNAVAILABLE, message: /cannot be opened: .*read-only/ };
    throws(() => openStore(disk.data, clock), refusal);
    deepStrictEqual((await verifyStore(disk.data)).problems, []);
    disk.remount('rw');
    const again = openStore(disk.data, clock);
    deepStrictEqual(answerOf(again, 'e1'), PRESENT);
    await again.close();
  },
};

const clock = () => micros(1_000);
const [folder, attempt] = process.argv.slice(2) as [string, string];
const disk = new Disk(folder);
const store = openStore(disk.data, clock);
store.createView(viewOf('job', DIM));
for (let commit = 0; commit < 30; commit++) await push(store, 100);
await ATTEMPTS[attempt]!(store, disk);
await push(store, 1).catch(() => {});
await store.close();
deepStrictEqual((await verifyStore(disk.data)).problems, []);
