import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import type { BackfillsAnswer } from '../../src/api/schemas/backfills.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { startServer } from './server.ts';

const AT = '2026-01-01T00:00:00Z';

/** A server with the view `post`, whose `v1` keeps the inputs of two posts, and an empty `v2`. */
async function startWithPosts(): Promise<{ url: string; files: string }> {
  const files = tempDirectory();
  const { url } = await startServer({ backfill: { directories: [files] } });
  const send = async (method: string, path: string, body: unknown): Promise<void> => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(await answer.text());
  };
  const version = { version: 'v1', dim: 128, dtype: 'float32' };
  const model = { name: 'hashing', keep_inputs: true };
  await send('PUT', '/v1/feature-views/post', {
    entity: 'post',
    join_key: 'id',
    ...version,
    model,
  });
  const text = { event_timestamp: AT, known_timestamp: AT };
  const records = ['a', 'b'].map((id) => ({ ...text, entity_id: id, text: `the post ${id}` }));
  await send('POST', '/v1/push', { feature_view: 'post', records });
  const added = { ...version, version: 'v2', model: { name: 'hashing' } };
  await send('POST', '/v1/feature-views/post/versions', added);
  return { url, files };
}

function vectorIn(out: string): string {
  return /"vector":\s*(\[[^\]]*\])/.exec(out)![1]!;
}

test('a version is planned, filled from the inputs of another one, and told of', async () => {
  const { url } = await startWithPosts();
  const from = ['backfill', 'post@v2', '--from-inputs', 'v1', '--url', url];
  const plan = await run([...from, '--plan']);
  expect(plan).toMatchObject({ code: 0, out: expect.stringMatching(/distinct inputs\s+2/) });
  expect((await run(['backfills', '--url', url])).out).not.toContain('post@v2');

  const filled = await run([...from, '--wait']);
  expect(filled.out).toMatch(/^post@v2: 2 events read, 2 stored, 0 duplicate, .* 2 shared/);
  const [one, other] = await Promise.all(
    ['v1', 'v2'].map(async (version) =>
      run(['get', 'post', 'a', '--version', version, '--json', '--url', url]),
    ),
  );
  expect(vectorIn(other!.out)).toBe(vectorIn(one!.out));
  const { out } = await run(['backfills', '--url', url]);
  expect(out).toMatch(/post@v2\s+inputs v1\s+done\s+2\s+2\s+2\s+0/);
});

test('a version is filled with some entities of a file, and the job is forgotten when that is said', async () => {
  const { url, files } = await startWithPosts();
  const file = join(files, 'posts.jsonl');
  const ids = join(files, 'ids.txt');
  const rows = ['a', 'c', 'd'].map((id) => JSON.stringify({ post: id, at: AT, body: `of ${id}` }));
  writeFileSync(file, rows.join('\n'));
  writeFileSync(ids, 'c\nd\n');
  const columns = 'entity_id=post,event_timestamp=at,text=body';
  const asked = ['--file', file, '--columns', columns, '--entities', ids, '--url', url];
  const filled = await run(['backfill', 'post@v2', ...asked, '--wait']);
  expect(filled.out).toContain(
    '3 events read, 2 stored, 0 duplicate, 0 erased, 0 rejected, 1 passed',
  );
  const listed = await run(['backfills', '--json', '--url', url]);
  const { id } = (JSON.parse(listed.out) as BackfillsAnswer).backfills[0]!;
  expect((await run(['backfills', 'cancel', id, '--url', url])).out).toBe(`${id}: forgotten.\n`);
  expect((await run(['backfills', 'cancel', id, '--url', url])).code).not.toBe(0);
});

test('what cannot be is refused with what could', async () => {
  const { url, files } = await startWithPosts();
  const ask = async (...args: string[]) => (await run(['backfill', ...args, '--url', url])).err;
  expect(await ask('post@v2')).toContain('--from-inputs, --file and --source');
  expect(await ask('post', '--source', 'x')).toContain('expected view@version');
  expect(await ask('post@v2', '--file', 'x', '--columns', 'nonsense')).toContain('what=column');
  expect(await ask('post@v2', '--source', 'x')).toContain('one of the settings');
  expect(await ask('post@candidate', '--from-inputs', 'v1')).toContain('VERSION_NOT_FOUND');
  const file = ['--columns', 'text=t', '--file'];
  expect(await ask('post@v2', ...file, '/etc/passwd')).toContain('backfill.directories');
  expect(await ask('post@v2', ...file, join(files, 'none.parquet'))).toContain('cannot be read');
});
