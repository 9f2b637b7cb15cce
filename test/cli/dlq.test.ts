import { expect, test } from 'vitest';

import { run } from './run.ts';
import { startServer } from './server.ts';

test('dlq list of a server without dead letters shows none', async () => {
  const { url } = await startServer();
  const { code, out } = await run(['dlq', 'list', 'job@v1', '--json', '--url', url]);
  expect([code, JSON.parse(out)]).toEqual([0, { dead_letters: [], next: null }]);
  const unknown = await run(['dlq', 'list', 'nobody', '--url', url]);
  expect(unknown).toMatchObject({ code: 1 });
});

test('dlq replay says what became of how many', async () => {
  const { url } = await startServer();
  const { code, out } = await run(['dlq', 'replay', '--url', url]);
  expect(code).toBe(0);
  expect(out).toMatch(/TRIED\s+LATEST[^]*0\s+0/);
});

test('dlq drop wants to be told which, and takes positions as they are listed', async () => {
  const { url } = await startServer();
  expect(await run(['dlq', 'drop', '--url', url])).toMatchObject({ code: 2 });
  const wrong = await run(['dlq', 'drop', '--position', 's/t/0', '--url', url]);
  expect(wrong).toMatchObject({ code: 2 });
  expect(wrong.err).toContain('source/topic/partition/offset');
  const none = await run(['dlq', 'drop', '--position', 's/t/0/7', '--json', '--url', url]);
  expect(JSON.parse(none.out)).toEqual({ dropped: 0 });
});
