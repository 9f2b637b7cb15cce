import { rmSync } from 'node:fs';

import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';

import { ReadOnlyStore } from '../../src/store/read-only-store.ts';
import type { ReadStore, Store } from '../../src/store/store.ts';
import { openStore } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, type Question } from '../../src/timetravel/question.ts';
import { batchOf, RESIDENT_BYTES, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const IDS = ['a', 'b', 'c', 'd', 'é', 'nobody'];
const SCOPE = { entity: 'job' };

interface Pair {
  writer: Store;
  reader: ReadOnlyStore;
  clock: TestClock;
  close: () => Promise<void>;
}

/** A store with the view `job`, and a second one that reads its files; closed when the test is done. */
async function pair(): Promise<Pair> {
  const both = await openPair();
  onTestFinished(both.close);
  return both;
}

async function openPair(): Promise<Pair> {
  const directory = tempDirectory();
  const clock = new TestClock();
  const writer = openStore(directory, clock.read);
  writer.createView(viewOf('job'));
  const reader = new ReadOnlyStore(directory, clock.read, { residentBytes: RESIDENT_BYTES });
  await settled(writer);
  await reader.open(writer.snapshot);
  const close = async (): Promise<void> => {
    await reader.close();
    await writer.close();
  };
  return { writer, reader, clock, close };
}

/** Resolves when the watermark has all that the catalogue says. */
async function settled(writer: Store): Promise<void> {
  while (writer.snapshot < writer.catalogue.lastEvent()) await writer.nextMove();
}

async function goOn({ writer, reader }: Pair): Promise<void> {
  await settled(writer);
  await reader.follow(writer.snapshot);
  await reader.reached(writer.snapshot, 1_000);
  expect(reader.snapshot).toBe(writer.snapshot);
}

async function push(
  { writer, clock }: Pair,
  id: string,
  event: number,
  vector: number[] | null,
): Promise<void> {
  clock.now++;
  const rows = batchOf([{ id, event, vector }]);
  await writer.commit('job', 'v1', { rows }).catch(unlessErased);
}

function unlessErased(error: unknown): void {
  if ((error as { code?: string }).code !== 'ENTITY_ERASED') throw error;
}

function questionAt(snapshot: number, asOf?: number): Question {
  return {
    asOf,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt: undefined,
    maxAge: ANY_AGE,
    now: 0,
    snapshot,
  };
}

/** All answers of a store, with the vectors' bytes. */
function answersOf(store: ReadStore, question: Question, view = 'job'): unknown {
  const version = store.version(view, 'v1');
  const resolution = resolveMany(version, IDS, question);
  const out = new Uint8Array(IDS.length * version.vectors.vectorBytes);
  gather(version.vectors, resolution, out);
  const { statuses, reasons, events, seqs } = resolution;
  return [statuses, reasons, events, seqs, out].map((column) => Array.from(column));
}

test('a head that was resident is read anew at the next snapshot, and not before', async () => {
  const both = await pair();
  const { writer, reader } = both;
  await push(both, 'a', 10, [1, 1]);
  await goOn(both);
  const before = answersOf(reader, questionAt(reader.snapshot));
  await push(both, 'a', 20, [2, 2]);
  expect(answersOf(reader, questionAt(reader.snapshot))).toEqual(before);
  await goOn(both);
  const after = answersOf(reader, questionAt(reader.snapshot));
  expect(after).not.toEqual(before);
  expect(after).toEqual(answersOf(writer, questionAt(writer.snapshot)));
});

test('of an entity whose erasure is lifted nothing of before is shown (A8)', async () => {
  const both = await pair();
  const { writer, reader } = both;
  await push(both, 'a', 10, [1, 1]);
  await goOn(both);
  answersOf(reader, questionAt(reader.snapshot));
  await writer.erase(SCOPE, ['a']);
  await goOn(both);
  expect(answersOf(reader, questionAt(reader.snapshot))).toEqual(
    answersOf(writer, questionAt(writer.snapshot)),
  );
  await writer.liftErasure(SCOPE, ['a']);
  await goOn(both);
  const [statuses, reasons] = answersOf(reader, questionAt(reader.snapshot)) as number[][];
  expect([statuses![0], reasons![0]]).toEqual([1, 0]);
});

test('views that come and go, and come again under the same name, are followed', async () => {
  const both = await pair();
  const { writer, reader } = both;
  writer.createView(viewOf('skill'));
  await writer.commit('skill', 'v1', { rows: batchOf([{ id: 'a', event: 1, vector: [5, 5] }]) });
  await goOn(both);
  const first = answersOf(reader, questionAt(reader.snapshot), 'skill');
  await writer.dropView('skill');
  await goOn(both);
  expect(reader.catalogue.view('skill')).toBeUndefined();
  expect(() => reader.version('skill', 'v1')).toThrow('no model version');
  writer.createView(viewOf('skill'));
  await goOn(both);
  expect(answersOf(reader, questionAt(reader.snapshot), 'skill')).not.toEqual(first);
});

test('a view that is dropped while its files are about to be opened is passed by', async () => {
  const both = await pair();
  const { writer, reader } = both;
  writer.createView(viewOf('skill'));
  await settled(writer);
  const { catalogue } = reader;
  const folder = catalogue.folder.bind(catalogue);
  let dropped: Promise<void> | undefined;
  vi.spyOn(catalogue, 'folder').mockImplementationOnce((...names) => {
    dropped = writer.dropView('skill');
    rmSync(folder('skill'), { recursive: true });
    return folder(...names);
  });
  await reader.follow(writer.snapshot);
  await dropped;
  await goOn(both);
  expect(reader.catalogue.views().map(({ name }) => name)).toEqual(['job']);
  expect(() => reader.version('skill', 'v1')).toThrow('no model version');
});

test('a snapshot is not gone by before the catalogue is with it', async () => {
  const both = await pair();
  const { writer, reader } = both;
  await push(both, 'a', 10, [1, 1]);
  await goOn(both);
  const { snapshot } = reader;
  await writer.advanceHorizon('job', 5);
  await settled(writer);
  // What is named is below the event: the horizon must wait for its own snapshot (A10).
  await reader.follow(snapshot);
  expect(reader.catalogue.mustGetView('job').horizon).toBeUndefined();
  await goOn(both);
  expect(reader.catalogue.mustGetView('job').horizon).toBeDefined();
});

test('what is waited for comes, or the time is over; nobody waits for what is there', async () => {
  const both = await pair();
  const { writer, reader } = both;
  expect(reader.reached(reader.snapshot, 1_000)).toBeUndefined();
  const waited = reader.reached(reader.snapshot + 1, 10_000);
  await push(both, 'a', 10, [1, 1]);
  await reader.follow(writer.snapshot);
  await waited;
  expect(reader.snapshot).toBe(writer.snapshot);
  await reader.reached(writer.snapshot + 1, 1);
  expect(reader.snapshot).toBe(writer.snapshot);
});

test('closed files are refused with when to ask again, and opened anew they answer as before', async () => {
  const both = await pair();
  const { writer, reader } = both;
  await push(both, 'a', 10, [1, 1]);
  await goOn(both);
  const before = answersOf(reader, questionAt(reader.snapshot));
  await reader.close();
  expect(reader.isOpen).toBe(false);
  expect(() => reader.catalogue).toThrow(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }));
  const opened = reader.reached(0, 10_000);
  await reader.open(writer.snapshot);
  await opened;
  expect(answersOf(reader, questionAt(reader.snapshot))).toEqual(before);
});

const id = fc.constantFrom('a', 'b', 'c', 'd', 'é');
const command = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('push' as const),
      id,
      event: fc.integer({ min: 1, max: 60 }),
      value: fc.option(fc.integer({ min: 0, max: 9 })),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('goOn' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('many' as const), id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('erase' as const), id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lift' as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('horizon' as const),
      at: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
);

test('whatever is done to a store, who reads its files answers as it does at that snapshot (A9)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
      const both = await openPair();
      const { writer, reader, clock } = both;
      for (const each of commands) {
        // So that there are heads to be out of date.
        answersOf(reader, questionAt(reader.snapshot));
        if (each.do === 'push') {
          const { event, value } = each;
          await push(both, each.id, event, value === null ? null : [value, event]);
        } else if (each.do === 'many') {
          const events = Array.from({ length: 50 }, (_, at) => at + 1);
          const rows = events.map((event) => ({ id: each.id, event, vector: [event, 7] }));
          clock.now++;
          await writer.commit('job', 'v1', { rows: batchOf(rows) }).catch(unlessErased);
        } else if (each.do === 'erase') await writer.erase(SCOPE, [each.id]);
        else if (each.do === 'lift') await writer.liftErasure(SCOPE, [each.id]);
        else if (each.do === 'compact') await writer.compact('job', 'v1');
        else if (each.do === 'horizon') await writer.advanceHorizon('job', each.at);
        else if (each.do === 'reopen') {
          await reader.close();
          await reader.open(writer.snapshot);
          await goOn(both);
        } else await goOn(both);
      }
      await goOn(both);
      for (const asOf of [undefined, 5, 30, 59]) {
        const question = questionAt(writer.snapshot, asOf);
        expect(answersOf(reader, question)).toEqual(answersOf(writer, question));
      }
      await both.close();
    }),
    { numRuns: 12 },
  );
});
