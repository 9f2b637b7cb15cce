import { expect, test } from 'vitest';

import { Coalescer } from '../../src/ingest/coalescer.ts';
import type {
  AskOptions,
  Embedded,
  Embedder,
  LaneName,
} from '../../src/ingest/inference/embedder.ts';

/** Answers a text when it is told to. */
class SlowEmbedder implements Embedder {
  fingerprint = 'slow';
  dim = 2;
  asked: { texts: readonly string[]; lane: LaneName; onText: AskOptions['onText'] }[] = [];
  async embed(texts: readonly string[], { lane, onText, signal }: AskOptions): Promise<Embedded> {
    this.asked.push({ texts, lane, onText });
    return new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }
  async close(): Promise<void> {}
}

const keyed = (...texts: string[]) => texts.map((text) => ({ key: `key of ${text}`, text }));

test('who waits for one text of many has it as soon as it is there', async () => {
  const [embedder, coalescer] = [new SlowEmbedder(), new Coalescer()];
  const many = coalescer.embed(embedder, keyed('a', 'b', 'c'), { lane: 'nearline' });
  const one = coalescer.embed(embedder, keyed('b'), { lane: 'nearline' });
  const { onText } = embedder.asked[0]!;
  onText!(1, Float32Array.of(1, 2));
  expect(await one).toEqual({ vectors: [Float32Array.of(1, 2)], fresh: 0 });
  onText!(0, Float32Array.of(3, 4));
  onText!(2, Float32Array.of(5, 6));
  expect((await many).vectors).toEqual([
    Float32Array.of(3, 4),
    Float32Array.of(1, 2),
    Float32Array.of(5, 6),
  ]);
  expect(embedder.asked).toHaveLength(1);
});

test('a request does not wait for the turn of a source, and a source waits for a request', async () => {
  const [embedder, coalescer] = [new SlowEmbedder(), new Coalescer()];
  const source = coalescer.embed(embedder, keyed('a', 'b'), { lane: 'nearline' });
  const request = coalescer.embed(embedder, keyed('b'), { lane: 'rest' });
  const other = coalescer.embed(embedder, keyed('b'), { lane: 'nearline' });
  expect(embedder.asked.map(({ texts, lane }) => [lane, ...texts])).toEqual([
    ['nearline', 'a', 'b'],
    ['rest', 'b'],
  ]);
  embedder.asked[1]!.onText!(0, Float32Array.of(1, 2));
  for (const answer of [request, other]) {
    expect((await answer).vectors).toEqual([Float32Array.of(1, 2)]);
  }
  embedder.asked[0]!.onText!(0, Float32Array.of(3, 4));
  embedder.asked[0]!.onText!(1, Float32Array.of(1, 2));
  expect((await source).vectors).toHaveLength(2);
  const known = await coalescer.embed(embedder, keyed('a', 'b'), { lane: 'rest' });
  expect(known.fresh).toBe(0);
});

test('a vector is kept by itself, and not all that it came with', async () => {
  const [embedder, coalescer] = [new SlowEmbedder(), new Coalescer()];
  const answer = coalescer.embed(embedder, keyed('a'), { lane: 'rest' });
  embedder.asked[0]!.onText!(0, new Float32Array(1_000).subarray(10, 12));
  const [vector] = (await answer).vectors as [Float32Array];
  expect(vector.buffer.byteLength).toBe(8);
});

test('who has all it wanted of a flight is no reason to go on with it', async () => {
  const [embedder, coalescer] = [new SlowEmbedder(), new Coalescer()];
  const leaving = new AbortController();
  const many = coalescer.embed(embedder, keyed('a', 'b'), { lane: 'rest', signal: leaving.signal });
  const one = coalescer.embed(embedder, keyed('a'), { lane: 'rest' });
  embedder.asked[0]!.onText!(0, Float32Array.of(1, 2));
  await one;
  leaving.abort(new Error('gone'));
  await expect(many).rejects.toThrow('gone');
  const [kept, again] = [keyed('a'), keyed('b')].map(async (texts) =>
    coalescer.embed(embedder, texts, { lane: 'rest' }),
  );
  expect((await kept!).fresh).toBe(0);
  expect(embedder.asked.map(({ texts }) => texts)).toEqual([['a', 'b'], ['b']]);
  embedder.asked[1]!.onText!(0, Float32Array.of(5, 6));
  await again;
});
