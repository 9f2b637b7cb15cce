import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Chunk, ChunkDraft, chunkBytes, type Revision, TOMBSTONE } from '../../src/store/chunk.ts';
import { compareOrder } from '../../src/store/order.ts';

function encode(revisions: readonly Revision[], hasSealed = false): Uint8Array {
  const draft = new ChunkDraft(revisions.length);
  revisions.forEach((revision, at) => draft.insert(at, revision));
  return new Uint8Array(draft.encode(0, revisions.length, hasSealed));
}

const time = fc.oneof(fc.integer({ min: -5, max: 5 }), fc.maxSafeInteger());
const revisions = fc
  .uniqueArray(
    fc.record({
      event: time,
      known: time,
      created: time,
      seq: fc.nat(),
      vectorId: fc.oneof(fc.constant(TOMBSTONE), fc.maxSafeInteger().map(Math.abs)),
    }),
    { minLength: 1, maxLength: 60, selector: ({ seq }) => seq },
  )
  .map((rows) => rows.toSorted(compareOrder));

test('a chunk of one revision is these bytes', () => {
  const bytes = encode([{ event: 1, known: 2, created: 3, seq: 4, vectorId: 5 }], true);
  expect(bytes.byteLength).toBe(chunkBytes(1));
  expect(Buffer.from(bytes.subarray(4, 8)).toString('hex')).toBe('01000000');
  expect(Array.from(new Float64Array(bytes.buffer, 8))).toEqual([2, 3, 4, 1, 2, 3, 4, 5]);
});

test('every chunk comes back from its bytes', () => {
  fc.assert(
    fc.property(revisions, fc.boolean(), (rows, hasSealed) => {
      const bytes = encode(rows, hasSealed);
      const chunk = new Chunk().point(bytes, bytes.byteLength);
      expect(rows.map((_, at) => chunk.revision(at))).toEqual(rows);
      expect(chunk.hasSealed).toBe(hasSealed);
      expect(chunk.leastSeq).toBe(Math.min(...rows.map(({ seq }) => seq)));
      expect(chunk.leastKnown).toBe(Math.min(...rows.map(({ known }) => known)));
      expect(chunk.leastCreated).toBe(Math.min(...rows.map(({ created }) => created)));
    }),
  );
});

test('searching a chunk finds what a walk along it finds (A1, A2)', () => {
  fc.assert(
    fc.property(revisions, time, time, fc.nat(), (rows, event, known, seq) => {
      const bytes = encode(rows);
      const chunk = new Chunk().point(bytes, bytes.byteLength);
      expect(chunk.countAtOrBefore(event)).toBe(rows.filter((row) => row.event <= event).length);
      const key = { event, known, seq };
      expect(chunk.insertionPoint(key)).toBe(
        rows.filter((row) => compareOrder(row, key) <= 0).length,
      );
    }),
  );
});

test('any flipped bit of a chunk is noticed', () => {
  fc.assert(
    fc.property(revisions, fc.nat(), fc.nat({ max: 7 }), (rows, at, bit) => {
      const bytes = encode(rows);
      bytes[at % bytes.byteLength]! ^= 1 << bit;
      expect(() => new Chunk().point(bytes, bytes.byteLength)).toThrow('checksum');
    }),
  );
});

test.each([0, 31, 32, 33, 71])('a chunk of %d bytes is refused', (length) => {
  expect(() => new Chunk().point(new Uint8Array(80), length)).toThrow('no whole number');
});

test('revisions out of order are never written', () => {
  const draft = new ChunkDraft(2);
  draft.insert(0, { event: 1, known: 0, created: 0, seq: 1, vectorId: 0 });
  draft.insert(0, { event: 1, known: 0, created: 0, seq: 2, vectorId: 0 });
  expect(() => draft.encode(0, 2, false)).toThrow('order');
});
