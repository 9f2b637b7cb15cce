import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Chunk, ChunkDraft } from '../../src/store/chunk.ts';
import { EntityIds } from '../../src/store/entity-ids.ts';
import { ResidentBudget } from '../../src/store/resident-budget.ts';
import { ResidentHeads } from '../../src/store/resident-heads.ts';

const MIB = 2 ** 20;

/** A head of so many revisions, whose times and vectors tell it from others. */
function headOf(count: number, first: number, hasSealed = false): Chunk {
  const draft = new ChunkDraft(40);
  for (let at = 0; at < count; at++) {
    draft.insert(at, {
      event: first + at,
      known: first + at + 1,
      created: first + at + 2,
      seq: first + at + 3,
      vectorId: first + at + 4,
    });
  }
  const bytes = new Uint8Array(draft.encode(0, count, hasSealed));
  return new Chunk().point(bytes, bytes.byteLength);
}

function told(chunk: Chunk): unknown {
  const { count, hasSealed, leastKnown, leastCreated, leastSeq } = chunk;
  const revisions = Array.from({ length: count }, (_, at) => chunk.revision(at));
  return { hasSealed, leastKnown, leastCreated, leastSeq, revisions };
}

function shown(heads: ResidentHeads, id: string): unknown {
  const chunk = new Chunk();
  return heads.show(EntityIds.of([id]), 0, chunk) ? told(chunk) : undefined;
}

test('a head is resident from when it was added until it changes', () => {
  const heads = new ResidentHeads(new ResidentBudget(4 * MIB));
  expect(shown(heads, 'a')).toBeUndefined();
  heads.add(EntityIds.of(['a']), 0, headOf(3, 100, true));
  heads.add(EntityIds.of(['b']), 0, headOf(1, 7));
  expect(shown(heads, 'a')).toEqual(told(headOf(3, 100, true)));
  expect(shown(heads, 'b')).toEqual(told(headOf(1, 7)));
  heads.drop(EntityIds.of(['a']), 0);
  heads.drop(EntityIds.of(['c']), 0);
  expect(shown(heads, 'a')).toBeUndefined();
  expect(shown(heads, 'b')).toEqual(told(headOf(1, 7)));
  heads.add(EntityIds.of(['a']), 0, headOf(40, 5));
  expect(shown(heads, 'a')).toEqual(told(headOf(40, 5)));
});

test('ids are told apart by every byte of theirs', () => {
  const heads = new ResidentHeads(new ResidentBudget(4 * MIB));
  const ids = [
    'a',
    'á',
    'a\u0301',
    '😀',
    '😁',
    'é'.repeat(512),
    'a'.repeat(1_023),
    'a'.repeat(1_024),
  ];
  ids.forEach((id, at) => heads.add(EntityIds.of([id]), 0, headOf(1, at * 10)));
  ids.forEach((id, at) => expect(shown(heads, id)).toEqual(told(headOf(1, at * 10))));
});

test('ids of one hash have a head each', () => {
  const heads = new ResidentHeads(new ResidentBudget(4 * MIB));
  const [one, other] = ['member:162789', 'member:379192'];
  const ids = EntityIds.of([one, other]);
  expect(ids.hashes[0]).toBe(ids.hashes[1]);
  heads.add(ids, 0, headOf(1, 7));
  expect(shown(heads, other)).toBeUndefined();
  heads.add(ids, 1, headOf(2, 9));
  heads.drop(ids, 0);
  expect([shown(heads, one), shown(heads, other)]).toEqual([undefined, told(headOf(2, 9))]);
});

test('a chunk shows a resident head and the bytes of a file in turns', () => {
  const heads = new ResidentHeads(new ResidentBudget(4 * MIB));
  heads.add(EntityIds.of(['a']), 0, headOf(2, 100));
  const draft = new ChunkDraft(40);
  draft.insert(0, { event: 1, known: 2, created: 3, seq: 4, vectorId: 5 });
  const bytes = new Uint8Array(draft.encode(0, 1, false));
  const chunk = new Chunk();
  for (let turn = 0; turn < 2; turn++) {
    expect(told(chunk.point(bytes, bytes.byteLength))).toEqual(told(headOf(1, 1)));
    expect(heads.show(EntityIds.of(['a']), 0, chunk)).toBe(true);
    expect(told(chunk)).toEqual(told(headOf(2, 100)));
  }
});

test('without room for more it starts anew, and without any it has nothing', () => {
  const budget = new ResidentBudget(MIB / 4);
  const heads = new ResidentHeads(budget);
  for (let at = 0; at < 5_000; at++) {
    heads.add(EntityIds.of([`job-${at}`]), 0, headOf(10, at));
    expect(shown(heads, `job-${at}`)).toEqual(told(headOf(10, at)));
  }
  expect(shown(heads, 'job-0')).toBeUndefined();
  expect(budget.used).toBeLessThanOrEqual(budget.bytesMax);
  heads.close();
  expect(budget.used).toBe(0);
  const none = new ResidentHeads(new ResidentBudget(1_000));
  none.add(EntityIds.of(['a']), 0, headOf(1, 1));
  expect(shown(none, 'a')).toBeUndefined();
});

test('whatever is added and dropped, an entity has its last head or none', () => {
  const step = fc.record({
    id: fc.nat(300),
    count: fc.integer({ min: 1, max: 40 }),
    does: fc.constantFrom('add', 'add', 'drop'),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 400 }),
      fc.integer({ min: 1, max: 3 }),
      (steps, slabs) => {
        const heads = new ResidentHeads(new ResidentBudget(slabs * 2 ** 17));
        const last = new Map<string, unknown>();
        for (const [at, { id, count, does }] of steps.entries()) {
          const name = `job-${id}`;
          if (does === 'add') {
            heads.add(EntityIds.of([name]), 0, headOf(count, at));
            last.set(name, told(headOf(count, at)));
            expect(shown(heads, name)).toEqual(last.get(name));
          } else {
            heads.drop(EntityIds.of([name]), 0);
            last.delete(name);
          }
        }
        for (let id = 0; id <= 300; id++) {
          const found = shown(heads, `job-${id}`);
          if (found !== undefined) expect(found).toEqual(last.get(`job-${id}`));
        }
      },
    ),
    { numRuns: 30 },
  );
});
