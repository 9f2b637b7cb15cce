import { expect, test } from 'vitest';

import { loadConfig } from '../../../src/config.ts';
import {
  remoteFingerprint,
  type RemoteModel,
  remoteModelSchema,
} from '../../../src/ingest/inference/remote-config.ts';

const DECLARED = { name: 'far', url: 'http://here/v1', model: 'theirs', dim: 8 };

function printOf(change: Partial<RemoteModel>): string {
  return remoteFingerprint(remoteModelSchema.parse({ ...DECLARED, ...change }));
}

test.each<[string, Partial<RemoteModel>]>([
  ['the model', { model: 'another' }],
  ['its dim', { dim: 9 }],
  ['whether it is cut', { dimensions: true }],
  ['whether it is normalised', { normalised: false }],
  ['the revision that its owner names', { revision: '2' }],
])('a remote model is another one with %s', (_what, change) => {
  expect(printOf(change)).not.toBe(printOf({}));
});

test.each<[string, Partial<RemoteModel>]>([
  ['at another address', { url: 'https://there/v1' }],
  ['under another name', { name: 'near' }],
  ['asked in other batches', { batch_texts: 1, batch_tokens: 9, concurrency: 1 }],
  ['with a key', { api_key_file: '/key' }],
])('a remote model is the same one %s', (_what, change) => {
  expect(printOf(change)).toBe(printOf({}));
});

test('the fingerprint of a remote model is as it was: versions are bound to it', () => {
  expect(printOf({})).toBe('2eb8ec38e36899873698072a502ea91a2f6ef85bd45f34b48d567d194eead5da');
});

test('the slash at the end of an address is no part of it', () => {
  expect(remoteModelSchema.parse({ ...DECLARED, url: 'http://here/v1/' }).url).toBe(
    'http://here/v1',
  );
});

test.each([
  [{ url: 'http://me:hidden@here/v1' }, /url: got another value; expected an address without/],
  [{ url: 'ftp://here' }, /url: got another value; /],
  [{ url: 'http://here/v1?key=hidden' }, /url: got another value; /],
  [{ api_key_file: '/a', api_key_env: 'B' }, /expected either api_key_file or api_key_env/],
  [{ name: 'Far' }, /name: got "Far"; expected lower-case/],
  [{ api_key: 'hidden' }, /api_key: there is no such setting/],
])('the setting %o is refused, and no secret is shown', (change, message) => {
  const load = () => loadConfig({ remote_models: [{ ...DECLARED, ...change }] }, {});
  expect(load).toThrow(message);
  expect(load).not.toThrow(/hidden/);
});

test('two remote models of one name are refused', () => {
  expect(() => loadConfig({ remote_models: [DECLARED, DECLARED] }, {})).toThrow(
    'expected another name for each remote model',
  );
});
