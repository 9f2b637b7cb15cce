import { watchCpu, watchOwnCpu } from '../harness/cpu.ts';
import type { Load } from '../harness/load.ts';
import type { Metric } from '../harness/rows.ts';

/** What is measured of whoever answers requests. */
export const SERVING_METRICS: readonly Metric[] = [
  { key: 'rate', title: 'requests/s', unit: '/s', better: 'more' },
  { key: 'p50', title: 'p50, ms', unit: 'ms', better: 'less' },
  { key: 'p99', title: 'p99, ms', unit: 'ms', better: 'less' },
  { key: 'server', title: 'server CPU, ms', unit: 'ms', better: 'less' },
  { key: 'client', title: 'client CPU, ms', unit: 'ms', better: 'less' },
];

/** Lets the server be asked, and sees how busy both sides are meanwhile. */
export async function measured(
  pid: number,
  load: () => Promise<Load>,
): Promise<Record<string, number>> {
  const [server, client] = [watchCpu(pid), watchOwnCpu()];
  const { rate, p50, p99, count } = await load();
  return { rate, p50, p99, server: server() / count, client: client() / count };
}
