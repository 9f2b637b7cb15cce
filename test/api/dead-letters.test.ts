import { expect, test } from 'vitest';

import { readLetters } from '../../src/api/letter-pages.ts';
import type { DeadLettersAnswer } from '../../src/api/schemas/dead-letters.ts';
import { type DeadLetter, RevisionBatch } from '../../src/store/batch.ts';
import { type Api, startWithJob } from './harness.ts';

const NO_ROWS = new RevisionBatch(8, 0);

function letter(source: string, offset: number, more: Partial<DeadLetter> = {}): DeadLetter {
  return {
    position: { source, topic: `${source}-topic`, partition: 0, offset },
    reason: 'BAD_RECORD',
    message: 'expected JSON',
    key: null,
    value: Buffer.from(`value ${offset}`),
    headers: {},
    timestamp: 1_000,
    ...more,
  };
}

async function apiWith(letters: readonly DeadLetter[], more = {}): Promise<Api> {
  const api = await startWithJob(more);
  await api.deps.store.commit('job', 'v1', { rows: NO_ROWS, deadLetters: letters });
  return api;
}

async function list(api: Api, query = ''): Promise<DeadLettersAnswer> {
  const { status, body } = await api.send('GET', `/v1/dead-letters${query}`);
  expect(status).toBe(200);
  return body as DeadLettersAnswer;
}

const offsetsOf = ({ dead_letters }: DeadLettersAnswer) =>
  dead_letters.map(({ source, offset }) => `${source}/${offset}`);

test('a dead letter is shown as it came: bytes in base64, and as text where they are UTF-8', async () => {
  const key = Buffer.from([0xff]);
  const headers = { trace: Buffer.from('x1') };
  const api = await apiWith([letter('s', 3, { key, headers }), letter('s', 4, { value: null })]);
  const { dead_letters, next } = await list(api);
  expect(next).toBeNull();
  expect(dead_letters[0]).toEqual({
    feature_view: 'job',
    version: 'v1',
    source: 's',
    topic: 's-topic',
    partition: 0,
    offset: 3,
    timestamp: '1970-01-01T00:00:00.001Z',
    code: 'BAD_RECORD',
    message: 'expected JSON',
    key: { base64: '/w==', text: null },
    value: { base64: Buffer.from('value 3').toString('base64'), text: 'value 3' },
    headers: { trace: { base64: Buffer.from('x1').toString('base64'), text: 'x1' } },
  });
  expect(dead_letters[1]).toMatchObject({ value: null });
});

test('headers without a value and those that stand more than once are shown so', async () => {
  const x1 = Buffer.from('x1');
  const headers = Object.fromEntries([
    ['none', null],
    ['twice', [x1, null]],
    ['__proto__', x1],
  ]);
  const { dead_letters } = await list(await apiWith([letter('s', 3, { headers })]));
  const shown = { base64: x1.toString('base64'), text: 'x1' };
  expect(Object.entries(dead_letters[0]!.headers)).toEqual([
    ['none', null],
    ['twice', [shown, null]],
    ['__proto__', shown],
  ]);
});

test('they are filtered by source, topic, code, view and version', async () => {
  const api = await apiWith([
    letter('a', 1),
    letter('a', 2, { reason: 'BAD_VECTOR' }),
    letter('b', 1),
  ]);
  expect(offsetsOf(await list(api, '?source=a'))).toEqual(['a/1', 'a/2']);
  expect(offsetsOf(await list(api, '?topic=b-topic'))).toEqual(['b/1']);
  expect(offsetsOf(await list(api, '?code=BAD_VECTOR&feature_view=job'))).toEqual(['a/2']);
  expect(offsetsOf(await list(api, '?feature_view=job&version=v1'))).toHaveLength(3);
  const unknown = await api.send('GET', '/v1/dead-letters?feature_view=nobody');
  expect(unknown).toMatchObject({ status: 404, body: { code: 'VIEW_NOT_FOUND' } });
  const bare = await api.send('GET', '/v1/dead-letters?version=v1');
  expect(bare).toMatchObject({ status: 422, body: { code: 'BAD_REQUEST' } });
});

test('page after page shows each of them once, whatever is dropped meanwhile', async () => {
  const letters = Array.from({ length: 50 }, (_, at) => letter(at % 2 ? 'a' : 'b', at));
  const api = await apiWith(letters);
  const seen: string[] = [];
  let cursor = '';
  do {
    const page = await list(api, `?limit=7${cursor}`);
    seen.push(...offsetsOf(page));
    await api.send('POST', '/v1/dead-letters/drop', {
      positions: [page.dead_letters.at(-1)!].map(({ source, topic, partition, offset }) => ({
        source,
        topic,
        partition,
        offset,
      })),
    });
    cursor = page.next === null ? '' : `&cursor=${page.next}`;
  } while (cursor !== '');
  expect(new Set(seen).size).toBe(50);
  expect(seen).toHaveLength(50);
  const made = await api.send('GET', '/v1/dead-letters?cursor=WyJqb2IiXQ');
  expect(made).toMatchObject({ status: 422, body: { code: 'BAD_REQUEST' } });
});

test('whoever works them off comes to an end, though each page brings as many new ones', async () => {
  const api = await apiWith([0, 1, 2, 3, 4].map((at) => letter('s', at)));
  const seen: string[] = [];
  let next: string | null = null;
  for (let page = 0; page < 20; page++) {
    const found: DeadLettersAnswer = await list(api, `?limit=2${next ? `&cursor=${next}` : ''}`);
    seen.push(...offsetsOf(found));
    next = found.next;
    if (next === null) break;
    const deadLetters = Array.from({ length: 20 }, (_, at) => letter('s', 100 * (page + 1) + at));
    deadLetters.push(letter('z', page));
    await api.deps.store.commit('job', 'v1', { rows: NO_ROWS, deadLetters });
  }
  expect(next).toBeNull();
  expect(seen).toEqual(['s/0', 's/1', 's/2', 's/3', 's/4', 'z/0', 'z/1']);
});

test('a page ends early where values are long', async () => {
  const value = Buffer.alloc(3_000_000, 'x');
  const api = await apiWith([0, 1, 2].map((at) => letter('s', at, { value })));
  const page = await list(api);
  expect(offsetsOf(page)).toEqual(['s/0', 's/1']);
  expect(offsetsOf(await list(api, `?cursor=${page.next}`))).toEqual(['s/2']);
});

test('a version that is retired while letters are read has none, and the others keep theirs', async () => {
  const api = await apiWith([letter('s', 1)]);
  const { store } = api.deps;
  for (const version of ['v2', 'v3']) {
    await api.send('POST', '/v1/feature-views/job/versions', { version, dim: 2, dtype: 'float32' });
    const deadLetters = [letter('s', 1), letter('s', 2)];
    await store.commit('job', version, { rows: NO_ROWS, deadLetters });
  }
  const found: string[] = [];
  for await (const { version, letter: each } of readLetters(store, {}, undefined)) {
    found.push(`${version}/${each.position.offset}`);
    if (found.length === 2) await store.retire('job', 'v2', {});
  }
  expect(found).toEqual(['v1/1', 'v2/1', 'v3/1', 'v3/2']);
});

test('those that fit are dropped, up to a limit, and no others', async () => {
  const api = await apiWith([letter('a', 1), letter('a', 2), letter('a', 3), letter('b', 1)]);
  const first = await api.send('POST', '/v1/dead-letters/drop', { source: 'a', limit: 2 });
  expect(first.body).toMatchObject({ dropped: 2, next: expect.any(String) as string });
  const rest = await api.send('POST', '/v1/dead-letters/drop', {
    source: 'a',
    cursor: first.body['next'],
  });
  expect(rest.body).toEqual({ dropped: 1, next: null });
  expect(offsetsOf(await list(api))).toEqual(['b/1']);
});

test('those that are named by position are looked for, each once', async () => {
  const api = await apiWith(Array.from({ length: 40 }, (_, at) => letter('s', at)));
  const positions = [...Array(40).keys(), 7, 99].map((offset) => letter('s', offset).position);
  const named = positions.filter(({ offset }) => offset !== 5);
  const { body } = await api.send('POST', '/v1/dead-letters/drop', { positions: named });
  expect(body).toEqual({ dropped: 39, next: null });
  expect(offsetsOf(await list(api))).toEqual(['s/5']);
});

test('those that are tried again go to their sources in order, with the counts added up', async () => {
  const tried: string[] = [];
  const api = await apiWith(
    Array.from({ length: 150 }, (_, at) => letter('s', at)),
    {
      replayLetters: async (
        at: { view: string; version: string },
        letters: readonly DeadLetter[],
      ) => {
        tried.push(...letters.map(({ position }) => `${at.view}@${at.version}/${position.offset}`));
        const nothing = { history: 0, duplicate: 0, skipped: 0, erased: 0, unconfigured: 0 };
        return { ...nothing, latest: letters.length - 1, failed: 1 };
      },
    },
  );
  const { body } = await api.send('POST', '/v1/dead-letters/replay', { limit: 130 });
  expect(body).toMatchObject({ tried: 130, latest: 128, failed: 2, duplicate: 0 });
  expect(tried).toEqual(Array.from({ length: 130 }, (_, at) => `job@v1/${at}`));
  const rest = await api.send('POST', '/v1/dead-letters/replay', { cursor: body['next'] });
  expect(rest.body).toMatchObject({ tried: 20, next: null });
});

test('an erased entity has no dead letters from the moment it is erased (A8)', async () => {
  const about = letter('s', 1, { key: Buffer.from('gone') });
  const api = await apiWith([about, letter('s', 2)]);
  const { store } = api.deps;
  // While a long work goes on, what is erased waits to be removed.
  const work = Promise.withResolvers<void>();
  const busy = store.maintenance.run(undefined, () => work.promise);
  await store.erase({ entity: 'job' }, ['gone']);
  expect(offsetsOf(await list(api))).toEqual(['s/2']);
  work.resolve();
  await busy;
  await expect.poll(async () => offsetsOf(await list(api))).toEqual(['s/2']);
});
