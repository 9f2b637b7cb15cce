import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { verifyStore } from '../../src/store/verify.ts';
import { tempDirectory } from '../support/temp.ts';
import { minutesAgo, pushTo, startWithJob } from './harness.ts';

test('a server backs itself up into a directory that it is allowed to, and says what is in it', async () => {
  const backups = tempDirectory();
  const api = await startWithJob({ backupDirectories: [backups] });
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: minutesAgo(3), vector: [1, 2] },
    { entity_id: 'a', event_timestamp: minutesAgo(2), vector: null },
  ]);
  const directory = join(backups, '2026/march');
  const { status, body } = await api.send('POST', '/v1/backup', { directory });
  expect([status, body]).toEqual([
    200,
    {
      directory,
      snapshot: api.deps.store.snapshot,
      created_timestamp: '2026-03-01T12:00:00Z',
      files: 3,
      bytes: expect.any(Number) as number,
      seconds: expect.any(Number) as number,
      versions: [{ feature_view: 'job', version: 'v1', entities: 1, revisions: 2, vectors: 1 }],
    },
  ]);
  expect((await verifyStore(directory)).problems).toEqual([]);
});

test('nobody has a server write where its configuration does not say that it may', async () => {
  const backups = tempDirectory();
  const elsewhere = tempDirectory();
  mkdirSync(join(elsewhere, 'target'));
  symlinkSync(elsewhere, join(backups, 'link'));
  const api = await startWithJob({ backupDirectories: [backups] });
  for (const directory of [
    join(elsewhere, 'one'),
    join(backups, '../one'),
    join(backups, 'link/one'),
    `${backups}-too`,
    'relative',
    '/',
    backups,
    `${backups}/one/..`,
  ]) {
    const { status, body } = await api.send('POST', '/v1/backup', { directory });
    expect([directory, status, body.code]).toEqual([directory, 422, 'BACKUP_REFUSED']);
    expect(body.detail).toContain('backup.directories');
    expect(String(body.detail).replace(JSON.stringify(directory), '')).not.toContain(backups);
  }
  expect(existsSync(join(elsewhere, 'one'))).toBe(false);
  const none = await startWithJob();
  expect(await none.send('POST', '/v1/backup', { directory: join(backups, 'one') })).toMatchObject({
    status: 422,
    body: { detail: expect.stringContaining('backup.directories, which names none') as string },
  });
});

test('a path that no disk takes is refused without a word of where the server has what', async () => {
  const backups = tempDirectory();
  const api = await startWithJob({ backupDirectories: [backups] });
  const long = join(backups, 'x'.repeat(300));
  const refused = await api.send('POST', '/v1/backup', { directory: long });
  expect(refused).toMatchObject({ status: 422, body: { code: 'BACKUP_REFUSED' } });
  expect(refused.body.detail).toMatch(/cannot take a backup: ENAMETOOLONG: name too long$/);
  const nul = await api.send('POST', '/v1/backup', { directory: join(backups, 'a\0b') });
  expect(nul).toMatchObject({ status: 422, body: { code: 'BAD_REQUEST' } });
  expect(nul.body.detail).toContain('NUL');
});

test('a server that stops gives a backup up that is under way', async () => {
  const backups = tempDirectory();
  const api = await startWithJob({ backupDirectories: [backups] });
  const entered = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  // Whatever holds the backup up, here another long work.
  const work = api.deps.store.maintenance.run(undefined, async () => {
    entered.resolve();
    await released.promise;
  });
  await entered.promise;
  const { store } = api.deps;
  const begun = Promise.withResolvers<void>();
  const backup = store.backup.bind(store);
  store.backup = async (...given) => {
    begun.resolve();
    return backup(...given);
  };
  const asked = api.send('POST', '/v1/backup', { directory: join(backups, 'one') });
  await begun.promise;
  const closed = api.server.close();
  released.resolve();
  expect(await asked).toMatchObject({ status: 503, body: { code: 'SHUTTING_DOWN' } });
  await closed;
  await work;
  expect(existsSync(join(backups, 'one'))).toBe(false);
});
