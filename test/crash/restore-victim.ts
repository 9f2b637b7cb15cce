import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

import { micros } from '../../src/ground/time.ts';
import { Environment } from '../../src/store/environment.ts';
import { wrap } from './points.ts';

export interface Order {
  backup: string;
  directory: string;
  replace: boolean;
  erasedFrom?: string;
  /** Before which step of its work the process is killed, from 1. */
  step: number;
}

/** Restores, and is killed on the way: at any change to the disk. */
const { backup, directory, replace, erasedFrom, step } = JSON.parse(process.argv[2]!) as Order;
let steps = 0;

function count(): void {
  if (++steps === step) process.kill(process.pid, 'SIGKILL');
}

for (const name of ['mkdirSync', 'renameSync', 'rmSync', 'fsyncSync', 'writeFileSync']) {
  wrap(fs, name, (call) => {
    count();
    return call();
  });
}
for (const name of ['commit', 'commitSync']) {
  wrap(Environment.prototype, name, (call) => {
    count();
    return call();
  });
}
syncBuiltinESMExports();
const { restoreBackup } = await import('../../src/store/restore.ts');
const settings = { replace, erasedFrom, noNewerErasures: false };
await restoreBackup(backup, directory, settings, () => micros(1_000_000), Math.random);
