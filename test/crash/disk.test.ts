import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { expect, test } from 'vitest';

import { mountDisk } from '../support/small-disk.ts';
import { tempDirectory } from '../support/temp.ts';

const CHILD = join(import.meta.dirname, 'disk-child.ts');

test.for([
  ['a full disk a push is refused, and the next one with room is stored', 'push'],
  ['a full disk an erasure is refused, and done with room (A8)', 'erase'],
  [
    'a full disk an erasure that is noted counts at once, and is carried out with room (A8)',
    'removal',
  ],
  ['a full disk a compaction is given up, and the old files go on serving', 'compaction'],
  [
    'a full disk views, settings and the horizon stay as they were, and change with room (A10)',
    'catalogue',
  ],
  ['a full disk a backup is refused, and leaves nothing behind', 'backup'],
  ['a full disk a store is not opened, and is with room', 'opening'],
  ['a read-only disk a store is not opened, and can be verified', 'reading'],
] as const)('on %s', async ([, attempt], { skip }) => {
  const disk = tempDirectory();
  if (!mountDisk(disk, 32)) skip('this needs leave to mount a disk');
  const child = spawn(process.execPath, [CHILD, disk, attempt], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [said, end] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect(end, said).toEqual([0, null]);
});
