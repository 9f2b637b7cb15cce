import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import { configSchema } from '../../src/config.ts';
import { startProcesses } from '../../src/serving/supervisor.ts';
import { tempDirectory } from '../support/temp.ts';

test('a folder for the socket whose path is too long is refused with what to do, and left clean', async () => {
  const data = tempDirectory();
  const folder = join(tempDirectory(), 'x'.repeat(100));
  mkdirSync(folder);
  vi.stubEnv('TMPDIR', folder);
  onTestFinished(() => void vi.unstubAllEnvs());
  const config = configSchema.parse({
    data,
    port: 0,
    log_level: 'silent',
    serving: { workers: 1 },
  });
  await expect(startProcesses({ ...config, models: data })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('set TMPDIR') as string,
  });
  expect(readdirSync(folder)).toEqual([]);
});
