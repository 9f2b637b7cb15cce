import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { configSchema } from '../../src/config.ts';
import { startTidemark, type Tidemark } from '../../src/main.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';
import { line, startServer } from './server.ts';

async function startReplica(data: string, follow: string): Promise<Tidemark> {
  const settings = configSchema.parse({ data, follow, port: 0, log_level: 'silent' });
  return startTidemark({ ...settings, models: join(data, 'models') });
}

interface Ready {
  ready: boolean;
  checks: { replica?: Record<string, unknown> };
}

async function readiness(url: string): Promise<Ready> {
  return (await (await fetch(`${url}/readyz`)).json()) as Ready;
}

async function pushLine(url: string, id: string): Promise<void> {
  const pushed = await run(['push', 'job', '--url', url], {
    stdin: [line(id, '2026-03-01T12:00:00Z', [1, 2])],
  });
  expect(pushed).toMatchObject({ code: 0 });
}

/** A leader with one vector, and a replica that has caught up with it. */
async function startBoth(): Promise<{ leader: string; data: string; replica: Tidemark }> {
  const { url: leader } = await startServer();
  await pushLine(leader, 'a');
  const data = tempDirectory();
  const replica = await startReplica(data, `${leader}/`);
  onTestFinished(async () => replica.stop());
  await expect.poll(async () => (await readiness(replica.url)).ready).toBe(true);
  return { leader, data, replica };
}

test('a replica is ready when it has caught up, says how far it is, and answers as its leader does', async () => {
  const { leader, replica } = await startBoth();
  const { checks } = await readiness(replica.url);
  expect(checks.replica).toEqual({
    ok: true,
    state: 'following',
    leader,
    connected: true,
    lag_seqs: 0,
    lag_seconds: 0,
  });
  const metrics = await (await fetch(`${replica.url}/metrics`)).text();
  for (const text of ['lag_seqs 0', 'lag_seconds 0', 'connected 1']) {
    expect(metrics).toContain(`\ntidemark_replica_${text}\n`);
  }
  await pushLine(leader, 'b');
  const asked = ['get', 'job', 'a', 'b', '--json', '--url'];
  const expected = JSON.parse((await run([...asked, leader])).out) as unknown;
  await expect
    .poll(async () => JSON.parse((await run([...asked, replica.url])).out) as unknown)
    .toEqual(expected);
});

test('a replica without its leader is not ready, and says why', async () => {
  const replica = await startReplica(tempDirectory(), 'http://127.0.0.1:9');
  onTestFinished(async () => replica.stop());
  await expect
    .poll(async () => (await readiness(replica.url)).checks.replica)
    .toMatchObject({
      ok: false,
      state: 'connecting',
      leader: 'http://127.0.0.1:9',
      connected: false,
      lag_seqs: null,
      lag_seconds: null,
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  const refused = await run(['push', 'job', '--url', replica.url], {
    stdin: [line('a', '2026-03-01T12:00:00Z', [1, 2])],
  });
  expect(refused).toMatchObject({ code: 3, err: expect.stringContaining('READ_ONLY_REPLICA') });
});

test('a replica is promoted by its address, and takes writes from then on', async () => {
  const { leader, replica } = await startBoth();
  const promoted = await run(['replica', 'promote', '--url', replica.url, '--json']);
  expect(promoted.code).toBe(0);
  const { snapshot } = JSON.parse(promoted.out) as { snapshot: number };
  await pushLine(replica.url, 'b');
  const { ready, checks } = await readiness(replica.url);
  expect([ready, checks.replica]).toEqual([true, undefined]);
  const answer = await fetch(`${replica.url}/v1/changes?after=${snapshot}`);
  const [change] = (await answer.text()).split('\n');
  expect(JSON.parse(change!)).toMatchObject({ entity_id: 'b', seq: snapshot + 1 });
  for (const url of [leader, replica.url]) {
    const again = await run(['replica', 'promote', '--url', url]);
    expect(again).toMatchObject({ code: 3, err: expect.stringContaining('NOT_A_REPLICA') });
  }
});

test('a directory that follows is not started without its leader, until it is promoted', async () => {
  const { leader, data, replica } = await startBoth();
  const locked = await run(['replica', 'promote', '--data', data]);
  expect(locked).toMatchObject({ code: 2, err: expect.stringContaining('STORE_LOCKED') });
  await replica.stop();
  const settings = configSchema.parse({ data, port: 0, log_level: 'silent' });
  const config = { ...settings, models: join(data, 'models') };
  await expect(startTidemark(config)).rejects.toMatchObject({
    code: 'READ_ONLY_REPLICA',
    message: expect.stringContaining(`--follow ${leader}`) as string,
  });
  const promoted = await run(['replica', 'promote', '--data', data]);
  expect(promoted).toMatchObject({
    code: 0,
    out: expect.stringContaining('it leads from snapshot'),
  });
  const again = await run(['replica', 'promote', '--data', data]);
  expect(again).toMatchObject({ code: 2, err: expect.stringContaining('NOT_A_REPLICA') });
  const server = await startTidemark(config);
  onTestFinished(async () => server.stop());
  await pushLine(server.url, 'b');
});

test('an address to follow that is none is refused as a setting', async () => {
  const { code, err } = await run(['serve', '--follow', 'leader:8080', '--data', tempDirectory()]);
  expect(code).toBe(2);
  expect(err).toContain('BAD_CONFIG: configuration: follow: got "leader:8080"');
});
