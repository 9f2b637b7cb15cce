import { expect, test } from 'vitest';

import { run } from './run.ts';
import { line, startServer } from './server.ts';

/** `job` with v1, which answers of a and b, and v2, which has what is given. */
async function startWithTwo(ids: readonly string[]): Promise<string> {
  const { url } = await startServer();
  const added = await fetch(`${url}/v1/feature-views/job/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ version: 'v2', dim: 2, dtype: 'float32' }),
  });
  expect(added.status).toBe(201);
  const at = '2026-01-01T00:00:00Z';
  const push = async (version: string, lines: string[]) =>
    run(['push', 'job', '--version', version, '--url', url], { stdin: lines });
  await push('v1', [line('a', at, [1, 0]), line('b', at, [0, 1])]);
  await push(
    'v2',
    ids.map((id) => line(id, at, [3, 4])),
  );
  return url;
}

test('a version is looked at, promoted, rolled back and retired from the command line', async () => {
  const url = await startWithTwo(['a', 'b']);
  const checked = await run(['promote', 'job@v2', '--check', '--url', url]);
  expect(checked.code).toBe(1);
  expect(checked.out).toMatch(/coverage\s+yes\s+1\s+0\.99/);
  expect(checked.out).toMatch(/duplicates\s+NO\s+0\.5\s+0\.05/);
  const promoted = await run(['promote', 'job@v2', '--force', '--reason', 'a try', '--url', url]);
  expect(promoted).toMatchObject({ code: 0, out: expect.stringContaining('job@v2 answers from') });
  expect(promoted.err).toContain('go back with: tidemark rollback job');
  expect((await run(['get', 'job', 'a', '--url', url])).out).toContain('job@v2');
  expect((await run(['views', '--url', url])).out).toMatch(/v1 \(previous\)[^]*v2 \*/);

  const back = await run(['rollback', 'job', '--url', url]);
  expect(back).toMatchObject({ code: 0, out: expect.stringContaining('job@v1 answers again') });
  const retired = await run(['retire', 'job@v2', '--reason', 'no good', '--url', url]);
  expect(retired).toMatchObject({ code: 0, out: 'job@v2 is gone.\n' });
  const { out } = await run(['history', 'job', '--url', url]);
  expect(out).toMatch(/promoted\s+v2\s+v2\s+v1\s+forced: duplicates\s+a try/);
  expect(out).toMatch(/rolled_back\s+v1\s+v1\s+v2/);
  expect(out).toMatch(/version_retired\s+v2\s+v1\s+no good/);
});

test('a version that fails a gate is not promoted, and the answer says by what it failed', async () => {
  const url = await startWithTwo(['a']);
  const refused = await run(['promote', 'job@v2', '--url', url]);
  expect(refused.code).toBe(1);
  expect(refused.out).toMatch(/coverage\s+NO\s+0\.5\s+0\.99/);
  expect(refused.err).toContain('GATES_FAILED');
  expect(refused.err).toContain('coverage: 1 of 2 entities that v1 answers have a vector');
  expect((await run(['get', 'job', 'a', '--url', url])).out).toContain('job@v1');
});

test('what cannot be rolled back or retired is refused, and says what to do', async () => {
  const url = await startWithTwo(['a']);
  const rolledBack = await run(['rollback', 'job', '--url', url]);
  expect(rolledBack).toMatchObject({ code: 3, err: expect.stringContaining('NO_PREVIOUS') });
  const retired = await run(['retire', 'job@v1', '--url', url]);
  expect(retired).toMatchObject({ code: 3, err: expect.stringContaining('VERSION_IN_USE') });
  const unknown = await run(['promote', 'job@v9', '--url', url]);
  expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('it has v1, v2') });
});

test.each(['job', 'job@', '@v2', 'job@v2@v3'])(
  'a version is named as job@v2, not as %s',
  async (name) => {
    const { code, err } = await run(['promote', name]);
    expect(code).toBe(2);
    expect(err).toContain('expected view@version, such as job@v2');
  },
);
