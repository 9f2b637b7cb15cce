import { expect, test } from 'vitest';

import { DISK } from '../../bench/harness/disk.ts';
import { IDLE, TIDEMARK } from '../../bench/ingest/kafka-contenders.ts';
import { shareOfDisk } from '../../bench/ingest/share-of-disk.ts';

/** Rows of one group, each of two rounds. */
function rowsOf(group: string, [idle, ours, disk]: readonly [number, number, number]) {
  const values = { [IDLE]: idle, [TIDEMARK]: ours, [DISK]: disk };
  return Object.entries(values).map(([name, middle]) => ({
    name,
    group,
    values: { vectors: [middle - 1, middle + 1] },
  }));
}

test('a page says whether the disk takes as much as ingestion is meant to reach, and the share that it has', () => {
  const rows = [...rowsOf('raw', [250, 60, 150]), ...rowsOf('JSON', [100, 40, 160])];
  expect(shareOfDisk(rows)).toBe(
    'raw: 80 % of kafkajs are 200 MB/s of vectors, and the disk takes 150 MB/s, so no store can keep up with that durably here; Tidemark stores 60.0 MB/s, 40.0 % of what the disk takes. ' +
      'JSON: 80 % of kafkajs are 80.0 MB/s of vectors, and the disk takes 160 MB/s, so the disk does not stand against it; Tidemark stores 40.0 MB/s, 25.0 % of what the disk takes.',
  );
});
