import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { atEnd } from '../harness/at-end.ts';

const MEMORY_GROUPS = '/sys/fs/cgroup/memory';
const WAIT_MS_MAX = 5_000;

/** Whether the memory of processes can be limited here: control groups, version 1, and root. */
export function canLimit(): boolean {
  return existsSync(join(MEMORY_GROUPS, 'memory.limit_in_bytes')) && process.getuid?.() === 0;
}

/** A group of processes that together have so much memory, the pages of files that they read too. */
export class MemoryGroup {
  private folder: string;
  private callOff: () => void;

  constructor(name: string, bytes: number) {
    this.folder = join(MEMORY_GROUPS, name);
    mkdirSync(this.folder);
    this.callOff = atEnd(() => {
      // Its processes are being killed.
      const untilGone = 'until rmdir "$0" 2>/dev/null; do sleep 0.1; done';
      spawnSync('sh', ['-c', untilGone, this.folder], { timeout: WAIT_MS_MAX });
    });
    writeFileSync(join(this.folder, 'memory.limit_in_bytes'), `${bytes}`);
  }

  /** The command line that runs in it from its first moment. */
  within(command: string, args: readonly string[]): [string, string[]] {
    const enter = `echo $$ > ${join(this.folder, 'cgroup.procs')} && exec "$0" "$@"`;
    return ['sh', ['-c', enter, command, ...args]];
  }

  /** When all that ran in it has ended. */
  remove(): void {
    rmdirSync(this.folder);
    this.callOff();
  }
}
