import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, test, vi } from 'vitest';

import { TidemarkError } from '../../../src/ground/errors.ts';
import { Batcher } from '../../../src/ingest/inference/batcher.ts';
import type { Embedded, LaneName } from '../../../src/ingest/inference/embedder.ts';
import type { LaneLimits } from '../../../src/ingest/inference/lane.ts';
import { EmbedMetrics } from '../../../src/ingest/inference/metrics.ts';
import { FakeBackend, type FakeText, vectorOf } from './fake-backend.ts';

const WIDE: LaneLimits = { texts: 10_000, tokens: 100_000 };

function setUp(backend = new FakeBackend(), queue = WIDE) {
  const registry = new Registry();
  const metrics = new EmbedMetrics(registry).of('fake');
  const batcher = new Batcher<FakeText>(backend, { queue, now: () => 0, metrics });
  const ask = (texts: string[], lane: LaneName = 'rest', signal?: AbortSignal) => {
    const answer = batcher.embed(texts, { lane, signal });
    answer.catch(() => {});
    return answer;
  };
  return { backend, runner: backend.runners[0]!, batcher, registry, ask };
}

/** Lets everything that can happen without an answer of a runner happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise(setImmediate);
}

/** Has runners answer until an answer is there. */
async function settle<T>(backend: FakeBackend, answer: Promise<T>): Promise<T> {
  const over = new AbortController();
  void Promise.allSettled([answer]).then(() => over.abort());
  for (let turn = 0; turn < 10_000 && !over.signal.aborted; turn++) {
    await turns();
    for (const runner of backend.runners) runner.finish();
  }
  return answer;
}

function rowsOf({ vectors }: Embedded): number[][] {
  return Array.from({ length: vectors.length / 2 }, (_, row) => [
    ...vectors.subarray(row * 2, row * 2 + 2),
  ]);
}

const names = (prefix: string, count: number, tokens: number): string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}${at}:${tokens}`);

describe('a batch', () => {
  test('is dispatched as soon as a runner is idle, and one more is there before it has run', async () => {
    const { runner, ask } = setUp();
    const answer = ask(names('a', 12, 10));
    await turns();
    expect(runner.given.map(({ texts }) => texts.length)).toEqual([4, 4]);
    runner.finish();
    await turns();
    expect(runner.given).toHaveLength(2);
    runner.finish();
    await turns();
    runner.finish();
    expect(rowsOf(await answer)).toEqual(names('a', 12, 10).map(vectorOf));
  });

  test('mixes texts of different callers, and each gets its own vectors in its own order', async () => {
    const { backend, runner, ask } = setUp();
    const busy = [ask(['x0:10']), ask(['x1:10'])];
    await turns();
    const answers = [ask(['a1:20', 'a2:5']), ask(['b3:5', 'b4:20'])];
    const [a, b] = await settle(backend, Promise.all(answers));
    expect(rowsOf(a!)).toEqual([vectorOf('a1:20'), vectorOf('a2:5')]);
    expect(rowsOf(b!)).toEqual([vectorOf('b3:5'), vectorOf('b4:20')]);
    await Promise.all(busy);
    expect(runner.ran.slice(1)).toEqual([
      ['a1:20', 'b4:20'],
      ['a2:5', 'b3:5'],
    ]);
  });

  test('always holds the oldest text of its lane, whatever the lengths of the others', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(lengths, async (all) => {
        const { backend, runner, ask } = setUp();
        const texts = all.map((length, at) => `a${at}:${length}`);
        await settle(backend, Promise.all([ask(texts.slice(0, 9)), ask(texts.slice(9))]));
        const waiting = new Set(texts);
        for (const ran of runner.ran) {
          const [oldest] = waiting;
          expect(ran).toContain(oldest);
          for (const text of ran) expect(waiting.delete(text)).toBe(true);
        }
        expect(waiting.size).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test('passes over no text that fails: its neighbours have their vectors', async () => {
    const { backend, registry, ask } = setUp();
    const { vectors, failures } = await settle(
      backend,
      ask(['a1:5', 'bad2:5', 'empty', 'b3:5', 'long4:5']),
    );
    expect([...failures].map(([at, { code }]) => [at, code])).toEqual([
      [2, 'BAD_INPUT'],
      [1, 'BAD_VECTOR'],
    ]);
    expect([...vectors]).toEqual([5, 2, 0, 0, 0, 0, 5, 4, 5, 5]);
    const metrics = await registry.metrics();
    expect(metrics).toContain('tidemark_embed_errors_total{model="fake",code="BAD_VECTOR"} 1');
    expect(metrics).toContain('tidemark_embed_truncated_total{model="fake"} 1');
    expect(metrics).toContain('tidemark_embed_tokens_total{model="fake"} 20');
    expect(metrics).toContain('tidemark_embed_queue_items{model="fake",lane="rest"} 0');
    expect(metrics).toContain('tidemark_embed_padding_ratio_sum{model="fake"} 1');
  });
});

describe('while both lanes wait', () => {
  test('three of four tokens that run are of requests', async () => {
    const { runner, ask } = setUp();
    void ask(names('x', 8, 10));
    await turns();
    void ask(names('n', 200, 10), 'nearline');
    void ask(names('r', 200, 10), 'rest');
    await turns();
    for (let run = 0; run < 42; run++) {
      runner.finish();
      await turns();
    }
    const lanes = runner.ran.slice(2).map(([first]) => first![0]);
    expect(lanes.filter((lane) => lane === 'r')).toHaveLength(30);
    expect(lanes.filter((lane) => lane === 'n')).toHaveLength(10);
  });

  test('a lane that was idle has saved nothing, so it does not starve the other', async () => {
    const { runner, ask } = setUp();
    void ask(names('n', 400, 10), 'nearline');
    for (let run = 0; run < 20; run++) {
      await turns();
      runner.finish();
    }
    void ask(names('r', 400, 10), 'rest');
    for (let run = 0; run < 12; run++) {
      await turns();
      runner.finish();
    }
    const lanes = runner.ran.slice(22).map(([first]) => first![0]);
    expect(lanes.filter((lane) => lane === 'n').length).toBeGreaterThanOrEqual(2);
    expect(lanes.filter((lane) => lane === 'r').length).toBeGreaterThanOrEqual(6);
  });
});

describe('a caller that leaves', () => {
  test('takes its texts out of the queue, and those that run are run for nothing', async () => {
    const { backend, runner, batcher, registry, ask } = setUp();
    const leaving = new AbortController();
    const answer = ask(names('a', 20, 10), 'rest', leaving.signal);
    await turns();
    const other = ask(['b1:10']);
    await turns();
    leaving.abort(new TidemarkError('BAD_REQUEST', 'gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(rowsOf(await settle(backend, other))).toEqual([[10, 2]]);
    expect(runner.ran.map((texts) => texts.length)).toEqual([4, 4, 1]);
    expect(await registry.metrics()).toContain(
      'tidemark_embed_queue_tokens{model="fake",lane="rest"} 0',
    );
    await batcher.close();
  });

  test('before it is let in is never let in', async () => {
    const { backend, runner, ask } = setUp(new FakeBackend(), { texts: 1, tokens: 1_000 });
    const leaving = new AbortController();
    const first = ask(names('a', 20, 10), 'nearline');
    const second = ask(['b1:10'], 'nearline', leaving.signal);
    const third = ask(['c1:10'], 'nearline');
    await turns();
    leaving.abort(new Error('gone'));
    await expect(second).rejects.toThrow('gone');
    await settle(backend, Promise.all([first, third]));
    expect(runner.ran.flat()).not.toContain('b1:10');
    await expect(ask(['d1:1'], 'rest', leaving.signal)).rejects.toThrow('gone');
  });
});

describe('a full queue', () => {
  test('refuses a request, and says when half of what waits will have run', async () => {
    const { backend, runner, ask } = setUp(new FakeBackend(), { texts: 1_000, tokens: 100 });
    await settle(backend, ask(names('a', 4, 10)));
    // 40 tokens ran in half a second. What waits are 24 texts of 10 tokens: 120 tokens are half.
    const waiting = ask(names('b', 32, 10));
    await turns();
    expect(runner.given).toHaveLength(2);
    await expect(ask(['c:10'])).rejects.toMatchObject({
      code: 'OVERLOADED',
      retryAfterSeconds: 2,
    });
    await settle(backend, waiting);
    expect(rowsOf(await settle(backend, ask(['c0:10'])))).toEqual([[10, 1]]);
  });

  test('has sources wait, and requests are let in all the same', async () => {
    const { backend, runner, ask } = setUp(new FakeBackend(), { texts: 4, tokens: 1_000 });
    const asks = names('n', 20, 10).map((text) => ask([text], 'nearline'));
    await turns();
    // Two batches at the runner, and four texts in the lane.
    expect(backend.encoded.flat().length).toBeLessThanOrEqual(12);
    const request = ask(['r1:10']);
    await turns();
    runner.finish();
    await settle(backend, Promise.all([...asks, request]));
    expect(runner.ran.findIndex((texts) => texts.includes('r1:10'))).toBeLessThan(8);
  });
});

describe('a runner that dies', () => {
  test('has its batch tried again; the one behind it is not to blame', async () => {
    const { backend, runner, ask } = setUp();
    const answer = ask(names('a', 8, 10));
    await turns();
    const [first, second] = runner.given.map(({ texts }) => texts);
    runner.die();
    await turns();
    // The second was not to blame and the first is a suspect, so it runs alone.
    expect(rowsOf(await settle(backend, answer))).toEqual(names('a', 8, 10).map(vectorOf));
    expect(runner.ran).toEqual(expect.arrayContaining([first, second]));
    expect(runner.ran).toHaveLength(2);
  });

  test('twice of one batch is led to the text that kills it, which fails alone', async () => {
    const { backend, runner, ask } = setUp();
    const texts = ['a0:10', 'a1:10', 'poison2:10', 'a3:10', 'b4:10', 'b5:10'];
    const { vectors, failures } = await settle(backend, ask(texts));
    expect([...failures.keys()]).toEqual([2]);
    expect(failures.get(2)).toMatchObject({ code: 'INFERENCE_FAILED' });
    expect(rowsOf({ vectors, failures })).toEqual(
      texts.map((text, at) => (at === 2 ? [0, 0] : vectorOf(text))),
    );
    // Whole twice, its half once, and alone twice.
    expect(runner.ran.filter((ran) => ran.includes('poison2:10'))).toEqual([
      texts.slice(0, 4),
      texts.slice(0, 4),
      ['poison2:10', 'a3:10'],
      ['poison2:10'],
      ['poison2:10'],
    ]);
  });

  test('and cannot be started again fails those who wait, and those who come, until it can', async () => {
    const { backend, runner, batcher, ask } = setUp();
    const answers = [ask(names('a', 20, 10)), ask(['n1:1'], 'nearline')];
    await turns();
    expect(batcher.status).toEqual({ state: 'warm' });
    runner.down = new TidemarkError('MODEL_UNAVAILABLE', 'no memory');
    runner.die();
    expect(batcher.status.state).toBe('warm');
    await turns();
    expect(batcher.status).toEqual({ state: 'warming' });
    runner.retry.resolve();
    for (const answer of answers) {
      await expect(answer).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    }
    expect(batcher.status).toEqual({ state: 'failed', message: 'no memory' });
    await expect(ask(['a1:1'])).rejects.toThrow('no memory');
    runner.down = undefined;
    runner.retry.resolve();
    await vi.waitUntil(() => batcher.status.state === 'warm');
    expect(rowsOf(await settle(backend, ask(['a1:1'])))).toEqual([[1, 2]]);
  });

  test('of whatever it is given is taken for a model that cannot run, and no text is blamed', async () => {
    const { backend, runner, ask } = setUp();
    runner.isDoomed = true;
    const texts = names('a', 8, 10);
    await expect(settle(backend, ask(texts))).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    await expect(settle(backend, ask(['a9:1']))).rejects.toThrow('fails on every text');
    runner.isDoomed = false;
    expect(rowsOf(await settle(backend, ask(texts)))).toEqual(texts.map(vectorOf));
  });

  test.each([1, 2])(
    'of many texts that stand side by side is led to each of them, with %i runners',
    async (runners) => {
      const { backend, ask } = setUp(new FakeBackend({ runners }));
      const poison = Array.from({ length: 8 }, (_, at) => `poison${at}:10`);
      const texts = ['a0:10', ...poison, 'b9:10'];
      const { failures } = await settle(backend, ask(texts, 'nearline'));
      expect([...failures.keys()].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      for (const { code } of failures.values()) expect(code).toBe('INFERENCE_FAILED');
    },
  );

  test('of a text is not given it again', async () => {
    const { backend, runner, ask } = setUp();
    await settle(backend, ask(['poison1:10']));
    runner.ran = [];
    const { vectors, failures } = await settle(backend, ask(['a0:10', 'poison1:10']));
    expect(failures.get(1)).toMatchObject({ code: 'INFERENCE_FAILED' });
    expect(rowsOf({ vectors, failures })[0]).toEqual(vectorOf('a0:10'));
    expect(runner.ran).toEqual([['a0:10']]);
    const { failures: all } = await settle(backend, ask(['poison1:10']));
    expect(all.get(0)).toMatchObject({ code: 'INFERENCE_FAILED' });
  });

  test('leaves its work to the others', async () => {
    const { backend, ask } = setUp(new FakeBackend({ runners: 2 }));
    const [one, two] = backend.runners as [FakeBackend['runners'][0], FakeBackend['runners'][0]];
    await turns();
    const answer = ask(names('a', 16, 10));
    await turns();
    one.down = new TidemarkError('MODEL_UNAVAILABLE', 'no memory');
    one.die();
    await settle(backend, answer);
    expect(two.ran.flat()).toHaveLength(16);
  });
});

test('a counter of tokens that dies of a text fails that text alone', async () => {
  const { backend, ask } = setUp();
  const { failures } = await settle(backend, ask(['a1:1', 'a2:1', 'murder3:1', 'a4:1']));
  expect([...failures].map(([at, { code }]) => [at, code])).toEqual([[2, 'INFERENCE_FAILED']]);
});

test('what is about no text fails whoever asked for one of the batch, and nobody else', async () => {
  const { backend, runner, ask } = setUp();
  const first = ask(names('a', 6, 10));
  await turns();
  runner.given[0]!.answer.reject(new TidemarkError('MODEL_INVALID', 'another shape'));
  runner.given.shift();
  const second = ask(['b1:1']);
  await expect(first).rejects.toThrow('another shape');
  expect(rowsOf(await settle(backend, second))).toEqual([[1, 2]]);
});

test('a batcher that is closed answers what it was asked, then frees the model', async () => {
  const { backend, batcher, ask } = setUp();
  const answer = ask(names('a', 20, 10), 'nearline');
  const closed = batcher.close();
  await expect(ask(['b1:1'])).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  await turns();
  expect(backend.isClosed).toBe(false);
  await settle(backend, answer);
  await closed;
  expect(backend.isClosed).toBe(true);
});

test('no texts have no vectors', async () => {
  expect((await setUp().ask([])).vectors).toHaveLength(0);
});

interface Arrival {
  lane: LaneName;
  lengths: number[];
  isCancelled: boolean;
  kind: 'good' | 'bad' | 'poison';
}

const arrivals = fc.array(
  fc.record<Arrival>({
    lane: fc.constantFrom('rest', 'nearline'),
    lengths: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 12 }),
    isCancelled: fc.boolean(),
    kind: fc.constantFrom('good', 'good', 'good', 'bad', 'poison'),
  }),
  { minLength: 1, maxLength: 12 },
);
/** The turns at which a runner dies by itself: not often enough to make a text of nobody look bad. */
const deaths = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 1 });

test('whatever comes and dies, each text is answered once with its own vector, and budgets hold', async () => {
  await fc.assert(
    fc.asyncProperty(
      arrivals,
      deaths,
      fc.integer({ min: 1, max: 3 }),
      async (all, dying, runners) => {
        const backend = new FakeBackend({ runners });
        const { batcher, ask } = setUp(backend, { texts: 20, tokens: 1_000 });
        await turns();
        let number = 0;
        const asked = all.map(({ lengths, kind, ...rest }, at) => {
          const texts = lengths.map((length, index) => {
            const name = index === lengths.length - 1 && kind !== 'good' ? kind : rest.lane;
            return `${name}${number++}:${length}`;
          });
          return { ...rest, texts, leaving: new AbortController(), at };
        });
        const answers: Promise<Embedded>[] = [];
        const waits = asked.map(async ({ texts, lane, leaving, at }) => {
          for (let turn = 0; turn < at; turn++) await new Promise(setImmediate);
          return (answers[at] = ask(texts, lane, leaving.signal));
        });
        const settled = Promise.allSettled(waits);
        const over = new AbortController();
        void settled.then(() => over.abort());
        for (let turn = 0; !over.signal.aborted && turn < 5_000; turn++) {
          for (const { isCancelled, leaving, at } of asked) {
            if (isCancelled && turn === at * 2 + 3) leaving.abort(new Error('gone'));
          }
          const runner = backend.runners[turn % runners]!;
          if (dying.includes(turn)) runner.die();
          else runner.finish();
          await new Promise(setImmediate);
        }
        expect(over.signal.aborted).toBe(true);
        for (const [at, outcome] of (await settled).entries()) {
          const { texts, isCancelled } = asked[at]!;
          if (outcome.status === 'rejected') {
            if (!isCancelled) expect(outcome.reason).toMatchObject({ code: 'OVERLOADED' });
            continue;
          }
          const rows = rowsOf(outcome.value);
          for (const [index, text] of texts.entries()) {
            const failure = outcome.value.failures.get(index);
            const code = text.startsWith('bad')
              ? 'BAD_VECTOR'
              : text.startsWith('poison')
                ? 'INFERENCE_FAILED'
                : undefined;
            expect(failure?.code).toBe(code);
            expect(rows[index]).toEqual(code === undefined ? vectorOf(text) : [0, 0]);
          }
        }
        for (const texts of backend.runners.flatMap(({ ran }) => ran)) {
          const lengths = texts.map((text) => vectorOf(text)[0]);
          expect(texts.length).toBeLessThanOrEqual(4);
          expect(texts.length === 1 || texts.length * Math.max(...lengths) <= 100).toBe(true);
        }
        // A text may be on trial still, though nobody waits for it any more.
        await settle(backend, batcher.close());
      },
    ),
    { numRuns: 60 },
  );
});
