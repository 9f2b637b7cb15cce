import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { configSchema } from '../../src/config.ts';
import { startTidemark } from '../../src/main.ts';
import { tempDirectory } from '../support/temp.ts';
import { run } from './run.ts';

test('the bundled model is listed where there is no other', async () => {
  const data = join(tempDirectory(), 'new');
  const { code, out } = await run(['model', 'list', '--data', data]);
  expect(out).toMatch(/^hashing +128 {2}bundled {2}Not for ranking/m);
  expect(code).toBe(0);
  const json = await run(['model', 'list', '--data', data, '--json']);
  expect(JSON.parse(json.out).models).toMatchObject([
    { name: 'hashing', bundled: true, manifest: { dim: 128 } },
  ]);
});

test('a model that is not in order is listed with what is wrong, and the command ends with 1', async () => {
  const data = tempDirectory();
  const folder = join(data, 'models', 'broken');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'tidemark-model.json'), '{}');
  const { code, out } = await run(['model', 'list', '--data', data]);
  expect(out).toMatch(/^broken .*added {2}.*not in order/m);
  expect(code).toBe(1);
});

test('a model is shown with its fingerprint', async () => {
  const { code, out } = await run(['model', 'show', 'hashing']);
  expect(out).toMatch(/^fingerprint +[0-9a-f]{64}$/m);
  expect(code).toBe(0);
  const json = await run(['model', 'show', 'hashing', '--json']);
  expect(JSON.parse(json.out)).toMatchObject({ name: 'hashing', manifest: { dim: 128 } });
});

test('a remote model is listed and shown, with what the server calls it and without its key', async () => {
  const config = join(tempDirectory(), 'tidemark.yaml');
  const far = { name: 'far', url: 'http://tei:8080/v1', model: 'org/theirs', dim: 64 };
  const key = join(tempDirectory(), 'key');
  writeFileSync(key, 'my-secret');
  writeFileSync(config, JSON.stringify({ remote_models: [{ ...far, api_key_file: key }] }));
  const list = await run(['model', 'list', '--config', config]);
  expect(list.out).toMatch(/^far +64 {2}remote +org\/theirs at http:\/\/tei:8080\/v1$/m);
  const shown = await run(['model', 'show', 'far', '--config', config]);
  expect(shown.out).toMatch(/^fingerprint +[0-9a-f]{64}$/m);
  const all = await run(['model', 'list', '--config', config, '--json']);
  const one = await run(['model', 'show', 'far', '--config', config, '--json']);
  expect(JSON.parse(all.out).models.at(-1)).toEqual(JSON.parse(one.out));
  expect(JSON.parse(one.out)).toMatchObject({ name: 'far', remote: far });
  for (const { out, code } of [list, shown, all, one]) {
    expect([code, out.includes('my-secret')]).toEqual([0, false]);
  }
});

test.each([
  ['show', 'nosuch'],
  ['pull', 'nosuch'],
  ['add', '/no/such/folder', 'mine'],
])('a model that is not there ends with 1: model %s', async (...args) => {
  const data = tempDirectory();
  const { code, err } = await run(['model', ...args, '--data', data]);
  expect(err).toContain('MODEL_INVALID');
  expect(code).toBe(1);
});

test('a server starts on the directory that a model was put into first', async () => {
  const data = join(tempDirectory(), 'new');
  await run(['model', 'add', '/no/such/folder', 'mine', '--data', data]);
  const settings = configSchema.parse({ data, port: 0, log_level: 'silent' });
  const server = await startTidemark({ ...settings, models: join(data, 'models') });
  expect(server.url).toMatch(/^http:/);
  await server.stop();
});
