import { execFileSync } from 'node:child_process';

/** Drops a file that nobody has mapped from the page cache, once it is on the disk. */
export function dropFromCache(file: string): void {
  const whole = ['oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'];
  execFileSync('dd', [`of=${file}`, ...whole]);
}
