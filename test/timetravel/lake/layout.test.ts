import { expect, test } from 'vitest';

import {
  bucketOf,
  bucketsFor,
  dayOf,
  fileName,
  partitionFolder,
} from '../../../src/timetravel/lake/layout.ts';

// As `zlib.crc32(id.encode()) % 16` of Python says.
test.each([
  ['job-1', 15],
  ['é', 14],
  ['日本', 12],
])('an entity’s bucket is the CRC-32 of its UTF-8: %s is in %i of 16', (id, bucket) => {
  expect(bucketOf(id, 16)).toBe(bucket);
  expect(bucketOf(id, 1)).toBe(0);
});

test('a new table has a bucket for each ten million revisions, up to sixteen', () => {
  expect([0, 1, 1e7, 1e7 + 1, 1e9].map(bucketsFor)).toEqual([1, 1, 1, 2, 16]);
});

test('the day of a moment begins with its midnight in UTC, before 1970 too', () => {
  const day = 86_400e6;
  expect([dayOf(0), dayOf(day - 1), dayOf(day), dayOf(-1), dayOf(-day)]).toEqual([0, 0, 1, -1, -1]);
});

test('a partition’s folder has the day’s date and the bucket’s number, which readers take for a number', () => {
  expect(partitionFolder(20_513, 7)).toBe('revisions/event_day=2026-03-01/bucket=7');
  expect(partitionFolder(-1, 0)).toBe('revisions/event_day=1969-12-31/bucket=0');
  expect(partitionFolder(0, 10)).toBe('revisions/event_day=1970-01-01/bucket=10');
});

test('a file’s name says between which seqs its content was committed', () => {
  expect(fileName(0, 1_048_577)).toBe('seq-0000000000000000-0000000001048577.parquet');
});
