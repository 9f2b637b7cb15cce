import fc from 'fast-check';
import { expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import {
  ChangesEncoder,
  encodeFrame,
  type Frame,
  readFrames,
} from '../../src/store/change-frames.ts';
import type { Change } from '../../src/store/change-log.ts';
import { TOMBSTONE } from '../../src/store/chunk.ts';
import type { Store } from '../../src/store/store.ts';
import { batchOf, testStore, viewOf } from '../support/store.ts';

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function open(bytes: Uint8Array, size = bytes.byteLength): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const { frame } of readFrames(pieces(bytes, size))) frames.push(frame);
  return frames;
}

/** A store whose version job@v1 has a vector [n, -n] under each id n. */
async function withVectors(count: number): Promise<Store> {
  const store = testStore(viewOf('job'));
  const rows = Array.from({ length: count }, (_, at) => ({
    id: `e${at}`,
    event: 1,
    vector: [at, -at],
  }));
  await store.commit('job', 'v1', { rows: batchOf(rows) });
  return store;
}

function change(seq: number, more: Partial<Change> = {}): Change {
  return {
    entityId: 'a',
    seq,
    event: 1,
    known: 2,
    created: 3,
    vectorId: 0,
    position: undefined,
    ...more,
  };
}

const POSITION = { source: 'jobs', topic: 'changes', partition: 3, offset: 2 ** 40 };

/** The frame with its bytes as JSON has them, of whatever kind they are. */
function asBytes(frame: Frame): unknown {
  return JSON.parse(JSON.stringify(frame)) as unknown;
}

test('every frame comes out as it went in', async () => {
  const store = await withVectors(2);
  const { lineage, erasureKey } = {
    lineage: { id: 'b', parents: [{ id: 'a', up_to: 2 ** 40 }] },
    erasureKey: new Uint8Array([1, 2, 255]),
  };
  const hello: Frame = {
    type: 'hello',
    format: 1,
    lineage,
    erasure_key: erasureKey,
    snapshot: 2 ** 41,
  };
  const at = { seq: 2 ** 40 + 1, created: micros(-5) };
  const view = { ...viewOf('job'), max_age: 2 ** 45, horizon: { moment: -7, seq: 9 } };
  const events: Frame[] = [
    { type: 'event', event: { ...at, type: 'view', view } },
    { type: 'event', event: { ...at, type: 'horizon', view } },
    { type: 'event', event: { ...at, type: 'view_dropped', view: 'job' } },
    {
      type: 'event',
      event: {
        ...at,
        type: 'erased',
        scope: { entity: 'job', view: undefined },
        hashes: new Uint8Array(32),
      },
    },
  ];
  const watermark: Frame = {
    type: 'watermark',
    up_to: 5,
    snapshot: 2 ** 40,
    seq_reserved: 2 ** 50,
    time: -1,
  };
  const error: Frame = { type: 'error', code: 'STORE_CORRUPT', detail: 'vector 7 …' };
  const plain = [hello, ...events, watermark, error];
  const bytes = plain.map((frame) => encodeFrame(frame as Exclude<Frame, { type: 'changes' }>));
  const changes = [
    change(7, { entityId: 'zoë 🌊', vectorId: 1, event: -(2 ** 53) + 1, position: POSITION }),
    change(8, { vectorId: TOMBSTONE }),
    change(9, { vectorId: 1, position: { ...POSITION, partition: 0, offset: 0 } }),
  ];
  const packed = new ChangesEncoder().encode(store.version('job', 'v1'), changes);
  const frames = await open(Buffer.concat([...bytes, packed]));
  expect(frames.slice(0, -1).map(asBytes)).toEqual(
    plain.map((frame) =>
      asBytes(
        frame.type === 'hello'
          ? { ...frame, erasure_key: Buffer.from(frame.erasure_key) }
          : 'event' in frame && 'hashes' in frame.event
            ? { ...frame, event: { ...frame.event, hashes: Buffer.alloc(32) } }
            : frame,
      ),
    ),
  );
  expect(frames.at(-1)).toEqual({
    type: 'changes',
    view: 'job',
    version: 'v1',
    changes,
    vectors: new Map([[1, Buffer.from(new Float32Array([1, -1]).buffer)]]),
  });
});

test('a vector is sent where a stream first refers to it, and once', async () => {
  const store = await withVectors(4);
  const version = store.version('job', 'v1');
  const encoder = new ChangesEncoder();
  const sent = async (...ids: number[]) => {
    const changes = ids.map((vectorId, at) => change(at, { vectorId }));
    const [frame] = await open(encoder.encode(version, changes));
    return frame?.type === 'changes' ? [...frame.vectors.keys()] : undefined;
  };
  expect(await sent(2, 0, 2)).toEqual([2, 0]);
  expect(await sent(0, 3, TOMBSTONE)).toEqual([3]);
  expect(await sent(0, 2)).toEqual([]);
});

test('any changes come out as they went in', async () => {
  const store = await withVectors(8);
  const version = store.version('job', 'v1');
  const whole = fc.maxSafeInteger();
  const arbitrary = fc.record({
    entityId: fc.string({ unit: 'binary', minLength: 1 }),
    seq: fc.maxSafeNat(),
    event: whole,
    known: whole,
    created: whole,
    vectorId: fc.integer({ min: TOMBSTONE, max: 7 }),
    position: fc.option(
      fc.record({
        source: fc.constantFrom('a', 'b'),
        topic: fc.constantFrom('t', 'u'),
        partition: fc.nat(2),
        offset: fc.maxSafeNat(),
      }),
      { nil: undefined },
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(arbitrary), async (changes) => {
      const [frame] = await open(new ChangesEncoder().encode(version, changes));
      expect(frame).toMatchObject({ changes });
    }),
  );
});

test('frames that arrive in pieces of any size are the same frames', async () => {
  const store = await withVectors(3);
  const encoder = new ChangesEncoder();
  const version = store.version('job', 'v1');
  const bytes = Buffer.concat([
    encodeFrame({ type: 'watermark', up_to: 1, snapshot: 1, seq_reserved: 1, time: 1 }),
    encoder.encode(version, [change(1), change(2, { vectorId: 2 })]),
    encoder.encode(version, [change(3, { position: POSITION })]),
    encodeFrame({ type: 'watermark', up_to: 3, snapshot: 3, seq_reserved: 9, time: 2 }),
  ]);
  const whole = await open(bytes);
  expect(whole).toHaveLength(4);
  for (let size = 1; size <= 64; size++) expect(await open(bytes, size)).toEqual(whole);
});

test('a stream that is cut at any byte gives the frames before the cut, and says so within one', async () => {
  const store = await withVectors(3);
  const parts = [
    encodeFrame({ type: 'error', code: 'INTERNAL', detail: '' }),
    new ChangesEncoder().encode(store.version('job', 'v1'), [change(1), change(2)]),
    encodeFrame({ type: 'watermark', up_to: 2, snapshot: 2, seq_reserved: 2, time: 0 }),
  ];
  const bytes = Buffer.concat(parts);
  const ends = parts.map((_, at) => Buffer.concat(parts.slice(0, at + 1)).byteLength);
  for (let cut = 0; cut <= bytes.byteLength; cut++) {
    const frames: Frame[] = [];
    let failure: unknown;
    try {
      for await (const { frame } of readFrames(pieces(bytes.subarray(0, cut), 50)))
        frames.push(frame);
    } catch (error) {
      failure = error;
    }
    expect(frames).toHaveLength(ends.filter((end) => end <= cut).length);
    expect(failure === undefined, `cut at ${cut}`).toBe(cut === 0 || ends.includes(cut));
  }
});

test('what claims to be a frame of half a gigabyte is none', async () => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(2 ** 29);
  await expect(open(bytes)).rejects.toThrow('got a frame of 536870912 bytes');
});
