import { Readable } from 'node:stream';

import { expect, onTestFinished, test } from 'vitest';

import {
  changesFormat,
  ChangesEncoder,
  encodeFrame,
  readFrames,
} from '../../src/store/change-frames.ts';
import type { LeaderItem } from '../../src/store/leader.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { Node, caughtUp } from '../support/replica.ts';
import { TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { keepingView, textsIn, textsOf } from '../support/texts.ts';

const clock = new TestClock();
const JOBS = { entity: 'job' };

/** The frames of one stream from a leader to a replica, as far as each is asked for. */
class Stream {
  readonly directory = tempDirectory();
  readonly replica: Store;
  private leader: Store;
  private encoder = new ChangesEncoder();

  private constructor(leader: Store) {
    this.leader = leader;
    this.replica = openStore(this.directory, clock.read);
    onTestFinished(async () => this.replica.close());
  }

  static async between(leader: Store): Promise<Stream> {
    const stream = new Stream(leader);
    await stream.replica.replica.follow({
      url: 'http://leader.example',
      lineage: leader.catalogue.lineage(),
      erasureKey: leader.catalogue.erasureKey(),
    });
    return stream;
  }

  /**
   * The events that the replica has not heard of, ahead of the revisions, and these up to `upTo`.
   * `whole`: no commit is cut in two by that snapshot.
   */
  async send(upTo: number, whole = upTo): Promise<void> {
    const { leader, replica, encoder } = this;
    const events = leader.catalogue.events(replica.catalogue.lastEvent(), Number.MAX_SAFE_INTEGER);
    const frames = events.map((event) => encodeFrame({ type: 'event', event }));
    if (events.some(({ type }) => type === 'erased')) encoder.forgetTexts();
    const { items } = leader.changes({ after: replica.snapshot, upTo, limit: 1_000 });
    for (const item of items) {
      if ('changes' in item) frames.push(encoder.encode(item.version, item.changes));
    }
    const told: LeaderItem[] = [];
    for await (const { frame } of readFrames(Readable.from(frames))) {
      if (frame.type === 'event' || frame.type === 'changes') told.push(frame);
    }
    await replica.replica.apply(told, upTo, leader.catalogue.seqReserved(), whole);
  }
}

async function push(store: Store, id: string, event: number, text: string): Promise<number> {
  return (await store.commit('job', 'v1', { rows: textsOf([{ id, event, text }]) })).snapshot;
}

test('a replica has the texts of its leader, and goes on with them when it is promoted', async () => {
  const leader = new Node(clock.read);
  leader.store.createView(keepingView());
  await push(leader.store, 'a', 1, 'nurse');
  await push(leader.store, 'b', 1, 'nurse');
  await leader.serve();
  const replica = new Node(clock.read);
  replica.follow(leader.url);
  await caughtUp(leader.store, replica.store);
  await push(leader.store, 'a', 2, 'a nurse in Bern '.repeat(50));
  await caughtUp(leader.store, replica.store);
  for (const id of ['a', 'b']) {
    const texts = textsIn(replica.store.version('job', 'v1'), id);
    expect(texts).toEqual(textsIn(leader.store.version('job', 'v1'), id));
  }
  await replica.follower!.stop();
  await replica.store.replica.promote(Math.random);
  await push(replica.store, 'a', 3, 'cook');
  expect(textsIn(replica.store.version('job', 'v1'), 'a').at(-1)).toBe('cook');
  const { directory } = replica;
  await replica.stop();
  expect(await verifyStore(directory)).toMatchObject({ problems: [], checked: { texts: 3 } });
  replica.reopen();
});

test('what is erased on the leader loses its texts on the replica, and an entity that the replica has not heard of yet does not (A8)', async () => {
  const leader = testStore(keepingView(), clock);
  const stream = await Stream.between(leader);
  const { replica } = stream;
  await stream.send(await push(leader, 'gone', 1, 'what both say'));
  await stream.send(await push(leader, 'gone', 2, 'what is secret'));
  const shared = await push(leader, 'kept', 1, 'what both say');
  await leader.erase(JOBS, ['gone']);
  // The erasure runs ahead of the revision.
  await stream.send(shared - 1);
  await replica.maintenance.run(undefined, async () => {});
  expect(replica.version('job', 'v1').texts!.count()).toBe(0);
  await stream.send(shared);
  expect(textsIn(replica.version('job', 'v1'), 'kept')).toEqual(['what both say']);
  expect(replica.version('job', 'v1').texts!.count()).toBe(1);
  await replica.close();
  expect((await verifyStore(stream.directory)).problems).toEqual([]);
});

test('of half a commit no text stays with a replica that is promoted', async () => {
  const leader = testStore(keepingView(), clock);
  const stream = await Stream.between(leader);
  const { replica } = stream;
  const whole = await push(leader, 'a', 1, 'nurse');
  await stream.send(whole);
  const rows = ['a', 'b'].map((id) => ({ id, event: 2, text: `cook ${id}` }));
  await leader.commit('job', 'v1', { rows: textsOf(rows), isAtomic: true });
  await stream.send(whole + 1, whole);
  expect(textsIn(replica.version('job', 'v1'), 'a')).toEqual(['nurse', 'cook a']);
  await replica.replica.promote(Math.random);
  expect(replica.version('job', 'v1').texts!.count()).toBe(1);
  await replica.close();
  expect((await verifyStore(stream.directory)).problems).toEqual([]);
});

test('replicas that do not know of texts are not told the changes of a store that keeps some', () => {
  expect(changesFormat([viewOf('job')])).toBe(1);
  expect(changesFormat([viewOf('small', 2, 'int8')])).toBe(2);
  expect(changesFormat([keepingView(), viewOf('small', 2, 'int8')])).toBe(3);
});
