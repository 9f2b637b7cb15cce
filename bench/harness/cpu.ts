import { readdirSync, readFileSync } from 'node:fs';

/** Of /proc/…/stat: what USER_HZ is everywhere. */
const MS_A_TICK = 10;
/** After the second field of /proc/…/stat: own time of user and system, and of children that ended. */
const OWN = [11, 12];
const ENDED_CHILDREN = [13, 14];

/** Watches how much CPU time, ms, a process uses with all that it has started. */
export function watchCpu(pid: number): () => number {
  return watch(() => ticksOfTree(pid));
}

/** The same of this process, and of programs that it has run to their end meanwhile. */
export function watchOwnCpu(): () => number {
  return watch(() => ticksOf(process.pid, [...OWN, ...ENDED_CHILDREN]));
}

function watch(ticks: () => number): () => number {
  const before = ticks();
  return () => (ticks() - before) * MS_A_TICK;
}

function ticksOfTree(pid: number): number {
  // Each of its threads knows the processes that it has started.
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  return children.reduce((sum, child) => sum + ticksOfTree(Number(child)), ticksOf(pid, OWN));
}

function ticksOf(pid: number, fields: readonly number[]): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field may have blanks.
  const values = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.reduce((sum, field) => sum + Number(values[field]), 0);
}
