import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { openStore } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { batchOf, TestClock, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { type Api, startApi } from './harness.ts';

/** A server over a store in which one byte of the vector of `a` is another one. */
async function startDamaged(backups: string): Promise<{ api: Api; directory: string }> {
  const directory = tempDirectory();
  const clock = new TestClock().read;
  let store = openStore(directory, clock);
  store.createView(viewOf('job'));
  const rows = batchOf([
    { id: 'a', event: 1, vector: [123.5, 1] },
    { id: 'b', event: 1, vector: [3, 1] },
    { id: 'a', event: 2, vector: null },
  ]);
  await store.commit('job', 'v1', { rows });
  await store.close();
  const file = join(directory, 'views/job/v1/data.mdb');
  const bytes = readFileSync(file);
  const vector = Buffer.from(new Float32Array([123.5, 1]).buffer);
  for (let at = bytes.indexOf(vector); at >= 0; at = bytes.indexOf(vector, at + 1)) bytes[at]! ^= 1;
  writeFileSync(file, bytes);
  store = openStore(directory, clock);
  onTestFinished(async () => store.close());
  return { api: await startApi({ store, backupDirectories: [backups] }), directory };
}

test('a damaged vector fails the requests that it is in the answer of, and no other', async () => {
  const { api } = await startDamaged(tempDirectory());
  const ask = async (ids: string[], rest: object = {}) =>
    api.send('POST', '/v1/lookup', {
      lookups: [{ feature_view: 'job', entity_ids: ids }],
      ...rest,
    });
  const asOf = { as_of: '1970-01-01T00:00:00.000001Z' };
  const failed = {
    status: 500,
    body: {
      code: 'STORE_CORRUPT',
      detail: expect.stringMatching(
        /^job@v1 \(views\/job\/v1\/data\.mdb\): vector 0 .*tidemark verify/,
      ) as string,
    },
  };
  expect(await ask(['b', 'a'], asOf)).toMatchObject(failed);
  expect(await ask(['a'], asOf)).toMatchObject(failed);
  // Neither the others nor the later times of the same entity need that vector.
  expect(await ask(['b'], asOf)).toMatchObject({
    status: 200,
    body: { results: [{ vectors: [[3, 1]] }] },
  });
  expect(await ask(['a', 'b'])).toMatchObject({
    status: 200,
    body: { results: [{ statuses: ['NOT_FOUND', 'PRESENT'], reasons: ['DELETED', null] }] },
  });
  const path = '/v1/feature-views/job/entities/a?as_of=1970-01-01T00:00:00.000001Z';
  expect(await api.send('GET', path)).toMatchObject(failed);
  // Its timeline is whole: only who wants to see the vectors cannot.
  const timeline = { feature_view: 'job', entity_id: 'a' };
  expect(await api.send('POST', '/v1/timeline', timeline)).toMatchObject({ status: 200 });
  expect(
    await api.send('POST', '/v1/timeline', { ...timeline, include_vectors: true }),
  ).toMatchObject(failed);
});

test('requests that meet damage are counted, and no others', async () => {
  const { api } = await startDamaged(tempDirectory());
  const asked = { feature_view: 'job', entity_id: 'a', include_vectors: true };
  await api.send('POST', '/v1/timeline', asked);
  await api.send('POST', '/v1/timeline', { ...asked, include_vectors: false });
  await api.send('POST', '/v1/timeline', { ...asked, feature_view: 'none' });
  const { bytes } = await api.send('GET', '/metrics');
  expect(bytes.toString()).toMatch(/^tidemark_store_corrupt_total 1$/m);
});

test('nothing is made of damaged files: neither a compacted copy nor a backup, and they go on serving', async () => {
  const backups = tempDirectory();
  const { api, directory } = await startDamaged(backups);
  const refused = { status: 500, body: { code: 'STORE_CORRUPT' } };
  expect(await api.send('POST', '/v1/compact', {})).toMatchObject(refused);
  const target = join(backups, 'one');
  expect(await api.send('POST', '/v1/backup', { directory: target })).toMatchObject(refused);
  const lookups = [{ feature_view: 'job', entity_ids: ['b'] }];
  expect(await api.send('POST', '/v1/lookup', { lookups })).toMatchObject({
    status: 200,
    body: { results: [{ vectors: [[3, 1]] }] },
  });
  const { outcomes } = await api.deps.store.commit('job', 'v1', {
    rows: batchOf([{ id: 'c', event: 1, vector: [5, 5] }]),
  });
  expect(outcomes).toEqual(['latest']);
  const { problems } = await verifyStore(directory);
  expect(problems).toMatchObject([{ what: expect.stringContaining('vector 0') as string }]);
});
