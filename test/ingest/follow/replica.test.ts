import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { expect, onTestFinished, test, vi } from 'vitest';

import { Follower } from '../../../src/ingest/follow/follower.ts';
import { RevisionBatch } from '../../../src/store/batch.ts';
import type { FeatureView } from '../../../src/store/catalogue.ts';
import type { Dtype } from '../../../src/store/dtype.ts';
import type { Store } from '../../../src/store/store.ts';
import { verifyStore } from '../../../src/store/verify.ts';
import { seeded } from '../../model/random.ts';
import { caughtUp, eventsOf, expectAlike, idsOf, Node, SILENT } from '../../support/replica.ts';
import { batchOf, TestClock, type TestRow, viewOf } from '../../support/store.ts';
import { tempDirectory } from '../../support/temp.ts';

const clock = new TestClock();
const random = seeded(11);

function newNode(): Node {
  return new Node(clock.read);
}

/** A view of another created time each: as one made by a server has. */
function madeView(name: string, dim = 2, dtype: Dtype = 'float32'): FeatureView {
  clock.now++;
  return { ...viewOf(name, dim, dtype), created_timestamp: clock.read() };
}

async function push(store: Store, view: string, rows: readonly TestRow[]): Promise<void> {
  const { dim, dtype } = store.catalogue.mustGetVersion(store.catalogue.mustGetView(view));
  const version = store.catalogue.mustGetView(view).aliases.current;
  await store.commit(view, version, { rows: batchOf(rows, dim, dtype) });
}

/** Rows of few entities at times in any order, deletes among them, vectors that come again. */
function anyRows(count: number, dim = 2): TestRow[] {
  return Array.from({ length: count }, () => ({
    id: `e${random(12)}`,
    event: random(400),
    known: random(500),
    vector: random(6) === 0 ? null : Array.from({ length: dim }, () => random(4)),
    scale: 1 + random(2),
  }));
}

/** A leader that answers, with two views and something of all kinds in them. */
async function startLeader(): Promise<Node> {
  const leader = newNode();
  const { store } = leader;
  store.createView(madeView('job'));
  store.createView(madeView('member', 5, 'int8'));
  for (let step = 0; step < 30; step++) {
    clock.now += 10;
    await push(store, 'job', anyRows(1 + random(60)));
    await push(store, 'member', anyRows(1 + random(10), 5));
  }
  await leader.serve();
  return leader;
}

/** Both are closed, and whole. */
async function expectSound(...nodes: Node[]): Promise<void> {
  for (const node of nodes) {
    await node.stop();
    expect((await verifyStore(node.directory)).problems).toEqual([]);
  }
}

test('an empty store that follows a leader becomes what it is, and stays it', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  for (let step = 0; step < 20; step++) {
    clock.now += 10;
    await push(leader.store, 'job', anyRows(20));
    if (step === 10) leader.store.createView(madeView('late'));
    if (step > 10) await push(leader.store, 'late', anyRows(3));
  }
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  expect(replica.follower!.status()).toMatchObject({
    state: 'following',
    connected: true,
    isReady: true,
    lag_seqs: 0,
    lag_seconds: 0,
  });
  await expectSound(replica, leader);
});

test('a replica that was away goes on where it was, and so does one whose leader was', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  for (let round = 0; round < 3; round++) {
    await replica.stop();
    await push(leader.store, 'job', anyRows(40));
    replica.reopen();
    expect(replica.store.snapshot).toBeLessThan(leader.store.snapshot);
    replica.follow(leader.url);
    await leader.stop();
    leader.reopen();
    await push(leader.store, 'member', anyRows(5, 5));
    await leader.serve();
    await push(leader.store, 'job', anyRows(5));
    await caughtUp(leader.store, replica.store);
    expectAlike(leader.store, replica.store);
  }
  await expectSound(replica, leader);
});

test('what is erased is erased on the replica, whether it was there or away, until it is lifted (A8)', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await leader.store.erase({ entity: 'job' }, ['e1', 'e2']);
  await push(leader.store, 'job', anyRows(100));
  await caughtUp(leader.store, replica.store);
  await expect.poll(() => idsOf(replica.store.version('job', 'v1'))).not.toContain('e1');
  await replica.stop();
  await leader.store.erase({ entity: 'job', view: 'job' }, ['e3']);
  await leader.store.liftErasure({ entity: 'job' }, ['e1']);
  await push(leader.store, 'job', [{ id: 'e1', event: 7, vector: [7, 7] }]);
  replica.reopen();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await expect.poll(() => idsOf(replica.store.version('job', 'v1'))).not.toContain('e3');
  expectAlike(leader.store, replica.store);
  const { erasures } = replica.store.version('job', 'v1');
  expect(['e1', 'e2', 'e3', 'e4'].map((id) => erasures.has(id))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  await expectSound(replica, leader);
});

test('what retention let go while a replica was away is never asked of it, and nothing else lacks (A10)', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await replica.stop();
  for (let step = 0; step < 20; step++) {
    clock.now += 10;
    await push(leader.store, 'job', anyRows(50));
  }
  await leader.store.advanceHorizon('job', clock.now - 60);
  expect((await leader.store.compact('job', 'v1')).revisions_dropped).toBeGreaterThan(50);
  await push(leader.store, 'job', anyRows(50));
  const fresh = newNode();
  fresh.follow(leader.url);
  replica.reopen();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await caughtUp(leader.store, fresh.store);
  expectAlike(leader.store, replica.store);
  expectAlike(leader.store, fresh.store);
  await replica.store.compact('job', 'v1');
  expectAlike(leader.store, replica.store);
  await expectSound(replica, fresh, leader);
});

test('a view that was dropped, or made anew, while a replica was away is that there', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await replica.stop();
  await leader.store.dropView('member');
  const before = leader.store.catalogue.mustGetView('job');
  await leader.store.dropView('job');
  // Even with the same created time it is another one, of other vectors.
  leader.store.createView({
    ...before,
    versions: { v1: { ...before.versions['v1']!, dim: 3 } },
  });
  await push(leader.store, 'job', anyRows(30, 3));
  replica.reopen();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  expect(replica.store.catalogue.view('member')).toBeUndefined();
  expectAlike(leader.store, replica.store);
  leader.store.createView(madeView('member', 4));
  await push(leader.store, 'member', anyRows(30, 4));
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  await expectSound(replica, leader);
});

test('compaction on both sides while changes come loses and doubles nothing', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  const state = { isDone: false };
  const write = async (): Promise<void> => {
    while (!state.isDone) {
      clock.now++;
      await push(leader.store, 'job', anyRows(20));
      await setImmediate();
    }
  };
  const writing = write();
  for (let round = 0; round < 6; round++) {
    await leader.store.advanceHorizon('job', clock.now - 20);
    const [done] = await Promise.all([
      leader.store.compact('job', 'v1'),
      // The replica has no view in the beginning.
      replica.store.catalogue.view('job') && replica.store.compact('job', 'v1'),
    ]);
    expect(done.revisions_dropped).toBeGreaterThan(0);
  }
  state.isDone = true;
  await writing;
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  await expectSound(replica, leader);
});

test('a vector that a replica’s compaction dropped is sent again when it comes into force again', async () => {
  const leader = newNode();
  leader.store.createView(madeView('job'));
  await leader.serve();
  const hash = new Uint8Array(16).fill(3);
  const embed = async (id: string, event: number): Promise<void> => {
    const rows = new RevisionBatch(8);
    rows.nextPayload().set(new Uint8Array(new Float32Array([9, 9]).buffer));
    rows.addRow(id, event, event, rows.addFilled(hash));
    await leader.store.commit('job', 'v1', { rows });
  };
  await embed('a', 1);
  await push(leader.store, 'job', [{ id: 'a', event: 2, vector: [1, 1] }]);
  const replica = newNode();
  replica.follow(leader.url);
  clock.now += 100;
  await leader.store.advanceHorizon('job', clock.now - 1);
  await caughtUp(leader.store, replica.store);
  expect((await replica.store.compact('job', 'v1')).vectors_dropped).toBe(1);
  // The leader still has the first vector, and has sent it.
  await embed('b', clock.now);
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  await expectSound(replica, leader);
});

/** Passes bytes on, and cuts each connection after so many of those that come back. */
async function startCutter(target: string, bytesOf: () => number): Promise<string> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const cutter: Server = createServer((near) => {
    const far = connect(Number(port), hostname);
    let left = bytesOf();
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', cut);
      socket.on('close', cut);
    }
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes: Buffer) => {
      near.write(bytes.subarray(0, left));
      left -= bytes.byteLength;
      if (left <= 0) near.end(() => cut());
    });
  });
  await new Promise<void>((resolve) => void cutter.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    cutter.close();
  });
  const { port: own } = cutter.address() as { port: number };
  return `http://127.0.0.1:${own}`;
}

test('connections that break off after any byte lose and double nothing', async () => {
  const leader = await startLeader();
  let bytes = 0;
  // From a few bytes of the answer's head on; the whole is not much more than 200 kB.
  const url = await startCutter(leader.url, () => (bytes += 1 + random(700)));
  const replica = newNode();
  replica.follow(url);
  for (let step = 0; step < 10; step++) await push(leader.store, 'job', anyRows(100));
  await caughtUp(leader.store, replica.store);
  expect(bytes).toBeGreaterThan(20_000);
  expectAlike(leader.store, replica.store);
  await expectSound(replica, leader);
});

test('a replica takes no writes, and says where they belong', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  const refusal = { code: 'READ_ONLY_REPLICA', leader: leader.url };
  // From the start, before it has heard of its leader.
  expect(() => replica.store.createView(madeView('other'))).toThrow(
    expect.objectContaining(refusal),
  );
  await caughtUp(leader.store, replica.store);
  await expect(push(replica.store, 'job', anyRows(1))).rejects.toMatchObject(refusal);
  await expect(replica.store.erase({ entity: 'job' }, ['e1'])).rejects.toMatchObject(refusal);
  await expect(replica.store.dropView('job')).rejects.toMatchObject(refusal);
  await replica.serve();
  const body = JSON.stringify({ feature_view: 'job', records: [{ nonsense: true }] });
  const headers = { 'content-type': 'application/json' };
  for (const [method, path] of [
    ['POST', '/v1/push'],
    ['PUT', '/v1/feature-views/other'],
    ['POST', '/v1/feature-views/job/versions'],
    ['DELETE', '/v1/feature-views/job'],
    ['DELETE', '/v1/feature-views/job/entities/a'],
  ] as const) {
    const answer = await fetch(replica.url + path, {
      method,
      ...(method !== 'DELETE' && { headers, body }),
    });
    expect([path, answer.status]).toEqual([path, 409]);
    expect(await answer.json()).toMatchObject({ ...refusal, status: 409 });
  }
});

test('a replica can be followed, as its leader can', async () => {
  const leader = await startLeader();
  const [middle, last] = [newNode(), newNode()];
  middle.follow(leader.url);
  await middle.serve();
  last.follow(middle.url);
  await leader.store.erase({ entity: 'job' }, ['e5']);
  await push(leader.store, 'job', anyRows(50));
  await caughtUp(leader.store, last.store);
  expectAlike(leader.store, last.store);
  expect(eventsOf(last.store)).toEqual(eventsOf(leader.store));
});

test('who follows a replica follows it on when it is promoted, and after that', async () => {
  const leader = await startLeader();
  const [middle, last] = [newNode(), newNode()];
  middle.follow(leader.url);
  await middle.serve();
  last.follow(middle.url);
  await caughtUp(leader.store, last.store);
  await middle.follower!.stop();
  await middle.store.replica.promote(Math.random);
  await push(middle.store, 'job', anyRows(10));
  await caughtUp(middle.store, last.store);
  expectAlike(middle.store, last.store);
  await last.stop();
  await push(middle.store, 'job', anyRows(10));
  last.reopen();
  last.follow(middle.url);
  await caughtUp(middle.store, last.store);
  expectAlike(middle.store, last.store);
  expect(last.store.following).toMatchObject({ leader: middle.url });
  await expectSound(last, middle);
});

test('a promoted replica goes on above all that its leader gave; who has no more than it can follow it', async () => {
  const leader = await startLeader();
  const [replica, behind, ahead] = [newNode(), newNode(), newNode()];
  for (const node of [replica, behind, ahead]) node.follow(leader.url);
  for (const node of [replica, behind, ahead]) await caughtUp(leader.store, node.store);
  await behind.stop();
  await push(leader.store, 'job', anyRows(30));
  await caughtUp(leader.store, replica.store);
  await caughtUp(leader.store, ahead.store);
  const { snapshot } = replica.store;
  await replica.follower!.stop();
  // What the leader stores now never reaches the replica, and reaches another one.
  await push(leader.store, 'job', [{ id: 'lost', event: 1, vector: [1, 1] }]);
  await caughtUp(leader.store, ahead.store);
  const tail = leader.store.snapshot;
  for (const node of [ahead, leader]) await node.stop();

  const newest = replica.store.version('job', 'v1').counters().lastCreated;
  clock.now -= 1_000;
  await replica.store.replica.promote(Math.random);
  expect(replica.store.following).toBeUndefined();
  expect(replica.store.snapshot).toBeGreaterThan(tail);
  await push(replica.store, 'job', [{ id: 'new', event: 1, vector: [2, 2] }]);
  clock.now += 1_000;
  const [added, ...more] = replica.store
    .version('job', 'v1')
    .log.read(snapshot, replica.store.snapshot, 10);
  expect(more).toEqual([]);
  expect(added!.entityId).toBe('new');
  expect(added!.seq).toBeGreaterThan(leader.store.snapshot);
  expect(added!.created).toBeGreaterThanOrEqual(newest);
  await expect(replica.store.replica.promote(Math.random)).rejects.toMatchObject({
    code: 'NOT_A_REPLICA',
  });
  await replica.serve();

  behind.reopen();
  behind.follow(replica.url);
  await caughtUp(replica.store, behind.store);
  expectAlike(replica.store, behind.store);
  for (const node of [leader, ahead]) {
    node.reopen();
    node.follow(replica.url);
    await expect.poll(() => node.follower!.status().state).toBe('diverged');
    expect(node.follower!.status()).toMatchObject({
      isReady: false,
      message: expect.stringContaining('follow with an empty directory') as string,
    });
  }
  await expectSound(behind, replica, leader, ahead);
});

test('a promotion that fails leaves the replica following, and one that is asked for twice is done once', async () => {
  const leader = await startLeader();
  const replica = newNode();
  const follower = replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  vi.spyOn(replica.store.catalogue, 'branch').mockImplementationOnce(() => {
    throw new Error('no room');
  });
  await expect(follower.promote(Math.random)).rejects.toThrow('no room');
  await push(leader.store, 'job', anyRows(10));
  await caughtUp(leader.store, replica.store);
  expectAlike(leader.store, replica.store);
  await expect
    .poll(() => follower.status())
    .toMatchObject({ state: 'following', isReady: true, lag_seqs: 0 });
  await Promise.all([follower.promote(Math.random), follower.promote(Math.random)]);
  expect(replica.store.catalogue.lineage().parents).toHaveLength(1);
  await expect(follower.promote(Math.random)).rejects.toMatchObject({ code: 'NOT_A_REPLICA' });
  expect(follower.status()).toMatchObject({ state: 'stopped', isReady: false });
  await push(replica.store, 'job', anyRows(10));
});

test('a leader that has no more than the replica that was promoted can follow it', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await leader.stop();
  await replica.follower!.stop();
  await replica.store.replica.promote(Math.random);
  await replica.serve();
  await push(replica.store, 'job', anyRows(30));
  leader.reopen();
  leader.follow(replica.url);
  await caughtUp(replica.store, leader.store);
  expectAlike(replica.store, leader.store);
  expect(leader.store.following).toMatchObject({ leader: replica.url });
  await expectSound(leader, replica);
});

test('a replica of a store that is older than the events of its catalogue has its views all the same', async () => {
  const leader = new Node(clock.read);
  await leader.stop();
  rmSync(leader.directory, { recursive: true });
  mkdirSync(leader.directory);
  const archive = join(import.meta.dirname, '../../fixtures/data-format-1.tar.gz');
  expect(spawnSync('tar', ['-xzf', archive, '-C', leader.directory]).status).toBe(0);
  leader.reopen();
  expect(leader.store.catalogue.events(0, Number.MAX_SAFE_INTEGER)).toEqual([]);
  await leader.serve();
  const replica = newNode();
  for (let time = 0; time < 2; time++) {
    replica.follow(leader.url);
    await caughtUp(leader.store, replica.store);
    expect(replica.store.catalogue.views().length).toBeGreaterThan(1);
    expectAlike(leader.store, replica.store);
    await replica.stop();
    replica.reopen();
  }
  await expectSound(replica, leader);
});

test('a store with a past of its own follows nobody, and stays as it is', async () => {
  const leader = await startLeader();
  const other = newNode();
  other.store.createView(madeView('job'));
  await push(other.store, 'job', anyRows(5));
  await other.stop();
  other.reopen();
  other.follow(leader.url);
  await expect.poll(() => other.follower!.status().state).toBe('diverged');
  await other.stop();
  other.reopen();
  expect(other.store.following).toBeUndefined();
  await push(other.store, 'job', anyRows(5));
});

test('a replica that has more than its leader, as one restored from an old copy, is told so', async () => {
  const leader = await startLeader();
  const replica = newNode();
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await replica.stop();
  const young = newNode();
  await young.serve();
  replica.reopen();
  replica.follow(young.url);
  await expect
    .poll(() => replica.follower!.status())
    .toMatchObject({
      state: 'diverged',
      message: expect.stringMatching(/cannot go on from there .*empty directory/) as string,
    });
});

test('a restored backup follows the store that it is of', async () => {
  const leader = await startLeader();
  const copy = new Node(clock.read, tempDirectory());
  await copy.stop();
  rmSync(copy.directory, { recursive: true });
  await leader.store.backup(copy.directory);
  rmSync(join(copy.directory, 'backup.json'));
  await push(leader.store, 'job', anyRows(30));
  copy.reopen();
  const { snapshot } = leader.store;
  expect(copy.store.snapshot).toBeGreaterThan(snapshot);
  copy.follow(leader.url);
  // What it had reserved, and its leader has given since, is not there yet.
  expect(copy.store.snapshot).toBeLessThan(snapshot);
  await caughtUp(leader.store, copy.store);
  expectAlike(leader.store, copy.store);
  await expectSound(copy, leader);
});

test('a leader that is away, is something else or falls silent is asked again, for ever', async () => {
  const leader = await startLeader();
  const answers: ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\nhello'),
    (socket) => socket.end('HTTP/1.1 503 Busy\r\ncontent-type: text/plain\r\n\r\nlater'),
    (socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/vnd.tidemark.changes\r\n\r\n\x01'),
    () => {},
  ];
  let asked = 0;
  const target = new URL(leader.url);
  const strange = createServer((socket) => {
    socket.on('error', () => {});
    const answer = answers[asked++];
    if (answer !== undefined) socket.once('data', () => answer(socket));
    else socket.pipe(connect(Number(target.port), target.hostname)).pipe(socket);
  });
  await new Promise<void>((resolve) => void strange.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void strange.close());
  const { port } = strange.address() as { port: number };
  const replica = newNode();
  const failures: number[] = [];
  const follower = new Follower({
    url: `http://127.0.0.1:${port}`,
    store: replica.store,
    log: SILENT,
    backoff: (count) => (failures.push(count), 1),
    silenceMs: 300,
  });
  onTestFinished(async () => follower.stop());
  follower.start();
  await caughtUp(leader.store, replica.store);
  expect(asked).toBeGreaterThan(answers.length);
  // The longer it lasts, the longer the waits may be.
  expect(failures.slice(0, answers.length)).toEqual([...answers.keys()]);
  await follower.stop();
});
