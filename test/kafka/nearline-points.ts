import { Worker } from 'node:worker_threads';

import { Batcher } from '../../src/ingest/inference/batcher.ts';
import { WorkerLife } from '../../src/ingest/inference/worker-life.ts';
import { Destination } from '../../src/ingest/kafka/destination.ts';
import type { Partitions } from '../../src/ingest/kafka/partitions.ts';
import { Publisher } from '../../src/ingest/kafka/publisher.ts';
import { Reader } from '../../src/ingest/kafka/reader.ts';
import { Upkeep } from '../../src/ingest/kafka/upkeep.ts';
import { Environment } from '../../src/store/environment.ts';
import { whenDone, wrap } from '../crash/points.ts';

/** A named place on the way of a record from its topic to the topic of a sink. */
interface Point {
  /** Sees to it that `strike` is called there, with whom it is about. */
  arm: (strike: (self: unknown) => void) => void;
  /** Up to the how manieth time it is struck. */
  times: number;
}

type IsMeant = (self: unknown) => boolean;
const always: IsMeant = () => true;

function before(owner: object, name: string, isMeant = always): Point['arm'] {
  return (strike) =>
    wrap(owner, name, (call, self) => {
      if (isMeant(self)) strike(self);
      return call();
    });
}

function after(owner: object, name: string, isMeant = always): Point['arm'] {
  return (strike) =>
    wrap(owner, name, (call, self) =>
      whenDone(call(), () => {
        if (isMeant(self)) strike(self);
      }),
    );
}

/** When a call is under way: another thread, or a broker, has its work. */
function during(owner: object, name: string): Point['arm'] {
  return (strike) =>
    wrap(owner, name, (call, self) => {
      const done = call();
      strike(self);
      return done;
    });
}

const isOfVersion: IsMeant = (self) => (self as Environment).file.includes('views');

/** In the transaction of a commit, when all that belongs to it is written. */
const inTransaction: Point['arm'] = (strike) =>
  wrap(Environment.prototype, 'commit', (call, self, given) => {
    if (isOfVersion(self)) {
      const work = given[0] as () => unknown;
      given[0] = () => whenDone(work(), () => strike(self));
    }
    return call();
  });

/** The brokers are told at every join too, when there is nothing to tell yet. */
const hasNews: IsMeant = (self) =>
  [...(self as { partitions: Partitions }).partitions.assigned].some(
    ({ stored, reported }) => stored !== reported,
  );

const { prototype: environment } = Environment;
const { prototype: destination } = Destination;
const { prototype: publisher } = Publisher;

/** Where a process is killed. */
export const POINTS: Record<string, Point> = {
  'when its partitions are assigned': { arm: after(Reader.prototype, 'joined'), times: 2 },
  'before texts are embedded': { arm: before(Batcher.prototype, 'embed'), times: 3 },
  'while a worker has texts': { arm: during(WorkerLife.prototype, 'ask'), times: 8 },
  'after texts are embedded, before they are committed': {
    arm: before(destination, 'commit'),
    times: 4,
  },
  'in the transaction': { arm: inTransaction, times: 6 },
  'between a commit and its flush': { arm: after(environment, 'commit', isOfVersion), times: 6 },
  'after a flush, before anybody hears of it': {
    arm: after(environment, 'flushed', isOfVersion),
    times: 8,
  },
  'after a commit, before its offset counts as read': {
    arm: after(destination, 'commit'),
    times: 4,
  },
  'before the brokers are told of offsets': {
    arm: before(Upkeep.prototype, 'reportOffsets', hasNews),
    times: 1,
  },
  'after a commit, before a sink publishes': { arm: before(publisher, 'send'), times: 3 },
  'while a sink publishes': { arm: during(publisher, 'send'), times: 3 },
  'after a sink has published, before that is stored': { arm: after(publisher, 'send'), times: 3 },
};

/** What befalls a process that lives on: once, or as often as it takes to be noticed. */
export interface Fault extends Point {
  lasts: number;
  does: (self: unknown) => void;
}

export const FAULTS: Record<string, Fault> = {
  'a worker dies': {
    arm: before(Worker.prototype, 'postMessage'),
    times: 12,
    lasts: 1,
    // No backend asks this: it ends the thread, and what is asked next is lost with it.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    does: (self) => (self as Worker).postMessage({ id: 0, ask: 7 }),
  },
  'the disk is full': {
    arm: before(environment, 'commit', isOfVersion),
    times: 6,
    lasts: 5,
    does: () => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    },
  },
};
