import { expect, test } from 'vitest';

import { readBatches, type RecordBatch } from '../../src/cli/records.ts';

async function batchesOf(...pieces: string[]): Promise<RecordBatch[]> {
  async function* input() {
    for (const piece of pieces) yield Buffer.from(piece);
  }
  return Array.fromAsync(readBatches(input()));
}

test('two thousand and one records are three batches, and each knows its lines', async () => {
  const text = Array.from({ length: 2_001 }, (_, i) => `{"n":${i}}\n`).join('');
  const batches = await batchesOf(text);
  expect(batches.map(({ lines }) => [lines.length, lines[0]])).toEqual([
    [1_000, 1],
    [1_000, 1_001],
    [1, 2_001],
  ]);
  expect(batches[2]!.body.toString()).toBe('{"n":2000}\n');
});

test('large records make small batches', async () => {
  const record = JSON.stringify({ text: 'x'.repeat(900_000) });
  const batches = await batchesOf(...Array.from({ length: 40 }, () => `${record}\n`));
  expect(batches.length).toBeGreaterThan(1);
  for (const { body } of batches) expect(body.byteLength).toBeLessThan(20 * 2 ** 20);
  expect(batches.flatMap(({ lines }) => lines)).toHaveLength(40);
});

test('blank lines are passed over and still counted, and the last line needs no end', async () => {
  const [batch] = await batchesOf('\n{"a"', ':1}\r\n', '  \n{"b":2}');
  expect(batch!.lines).toEqual([2, 4]);
  expect(batch!.body.toString()).toBe('{"a":1}\r\n{"b":2}\n');
});

test('a record is passed on as it was written, whatever JavaScript would make of it', async () => {
  const text = '{"entity_id": 12345678901234567890, "v": 1.0, "s": "\u2028é"}\n';
  const [batch] = await batchesOf(text);
  expect(batch!.body.toString()).toBe(text);
});

test('nothing to read is no batch', async () => {
  expect(await batchesOf()).toEqual([]);
  expect(await batchesOf('\n \n')).toEqual([]);
});

test('a line of megabytes is no record', async () => {
  await expect(batchesOf('{}\n', 'x'.repeat(2 ** 21))).rejects.toThrow('line 2 is longer');
});
