import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { FileWriter } from '../../../src/timetravel/join/file-writer.ts';
import { tempDirectory } from '../../support/temp.ts';

test('a file has its name once it is whole, and is told with its bytes and checksum', () => {
  const folder = tempDirectory();
  const chunks = [0, 5, 2 ** 20, 3 * 2 ** 20 + 7].map((bytes, at) => Buffer.alloc(bytes, at + 1));
  const file = new FileWriter(join(folder, 'part'));
  for (const chunk of chunks) file.write(chunk);
  expect(readdirSync(folder)).toEqual(['part.tmp']);
  const whole = Buffer.concat(chunks);
  expect(file.finish(9)).toEqual({
    rows: 9,
    bytes: whole.byteLength,
    sha256: createHash('sha256').update(whole).digest('hex'),
  });
  expect(readdirSync(folder)).toEqual(['part']);
  expect(readFileSync(join(folder, 'part')).equals(whole)).toBe(true);
});

test('a file that is given up is gone, and one that was there before it stays', () => {
  const folder = tempDirectory();
  const before = new FileWriter(join(folder, 'part'));
  before.write(Buffer.from('before'));
  before.finish(1);
  const file = new FileWriter(join(folder, 'part'));
  file.write(Buffer.from('after'));
  file.abandon();
  expect(readdirSync(folder)).toEqual(['part']);
  expect(readFileSync(join(folder, 'part')).toString()).toBe('before');
});

test('what the disk refuses is told as unavailable, without its path', () => {
  const refused = expect.objectContaining({
    code: 'STORE_UNAVAILABLE',
    message: expect.not.stringContaining('/') as string,
  }) as Error;
  const folder = tempDirectory();
  expect(() => new FileWriter(join(folder, 'none', 'part'))).toThrow(refused);
  symlinkSync('/dev/full', join(folder, 'part.tmp'));
  const file = new FileWriter(join(folder, 'part'));
  expect(() => file.write(Buffer.from('part'))).toThrow(refused);
  file.abandon();
  expect(readdirSync(folder)).toEqual([]);
});

test('a file that cannot be given its name is given up, and no other file is closed in its place', () => {
  const folder = tempDirectory();
  const path = join(folder, 'part');
  mkdirSync(join(path, 'full'), { recursive: true });
  const file = new FileWriter(path);
  file.write(Buffer.from('part'));
  expect(() => file.finish(1)).toThrow(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }));
  // The system gives the number of the file that was closed to the next one.
  const other = openSync(join(folder, 'other'), 'w+');
  file.abandon();
  expect(readFileSync(other)).toHaveLength(0);
  closeSync(other);
  rmSync(path, { recursive: true });
  expect(readdirSync(folder)).toEqual(['other']);
});
