import { expect, test } from 'vitest';

import { run } from './run.ts';
import { line, startServer } from './server.ts';

const SETTINGS = { shadow: { sample: 1 }, maintenance: { interval_seconds: 1 } };
const AT = '2026-01-01T00:00:00Z';

async function addV2(url: string): Promise<void> {
  const added = await fetch(`${url}/v1/feature-views/job/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ version: 'v2', dim: 2, dtype: 'float32' }),
  });
  expect(added.status).toBe(201);
}

test('a candidate is compared by what is looked up, and views say what is off with a version', async () => {
  const { url } = await startServer(SETTINGS);
  const push = async (version: string, lines: string[]) =>
    run(['push', 'job', '--version', version, '--url', url], { stdin: lines });
  await push('v1', [line('a', AT, [1, 0]), line('b', AT, [0, 1])]);
  const alone = await run(['shadow', 'job', '--url', url]);
  expect(alone.out).toBe('job has no candidate: v1 is its current version.\n');

  await addV2(url);
  await push('v2', [line('a', AT, [0, 0])]);
  for (const id of ['a', 'b']) await run(['get', 'job', id, '--url', url]);
  const shadow = async () => (await run(['shadow', 'job', '--url', url])).out;
  await expect.poll(shadow).toContain('job@v2 beside job@v1, by 2 of the lookups since ');
  expect(await shadow()).toMatch(/coverage\s+0\.5000\s+1 of 2 vectors, of 2 ids/);
  expect(await shadow()).toMatch(/cosine\s+0\.0000\s+1 of 20 is below 0\.0000/);
  const { out } = await run(['shadow', 'job', '--json', '--url', url]);
  expect(JSON.parse(out)).toMatchObject({ candidate: 'v2', lookups: 2, neighbour_overlap: null });

  await expect
    .poll(async () => (await run(['views', '--url', url])).out, { timeout: 20_000 })
    .toMatch(/v1 \*.* ok\n.*v2 \(candidate\).* zero_vectors\n/);
});

test('a server whose lookups ask no candidate says so', async () => {
  const { url } = await startServer({ shadow: { sample: 0 } });
  await addV2(url);
  const { out } = await run(['shadow', 'job', '--url', url]);
  expect(out).toBe('Lookups ask no candidate: the setting shadow.sample is 0.\n');
  expect((await run(['shadow', 'none', '--url', url])).code).not.toBe(0);
});
