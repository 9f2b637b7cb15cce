import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

/** Where, on what and of what a benchmark was run: a number without this says little. */
export interface Ground {
  date: string;
  commit: string;
  cpu: string;
  cores: number;
  memory_bytes: number;
  kernel: string;
  node: string;
}

export function groundOf(date: Date): Ground {
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' });
  return {
    date: date.toISOString().slice(0, 10),
    commit: commit.trim(),
    cpu: cpus()[0]!.model.trim(),
    cores: cpus().length,
    memory_bytes: totalmem(),
    kernel: release(),
    node: process.version,
  };
}

export function groundText({
  date,
  commit,
  cpu,
  cores,
  memory_bytes,
  kernel,
  node,
}: Ground): string {
  const memory = (memory_bytes / 2 ** 30).toFixed(0);
  return `${date}, commit ${commit}, ${cpu} × ${cores}, ${memory} GiB, Linux ${kernel}, Node ${node}.`;
}

/** Of a benchmark that has no page. */
export function printGround(): void {
  console.log(`${groundText(groundOf(new Date()))}\n`);
}
