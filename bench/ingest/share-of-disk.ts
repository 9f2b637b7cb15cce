import { shown } from '../harness/bars.ts';
import { DISK } from '../harness/disk.ts';
import { type Row, spreadIn } from '../harness/rows.ts';
import { IDLE, TIDEMARK } from './kafka-contenders.ts';

/** Of reading without storing: what storing is meant to reach. */
const GOAL = 0.8;

/** How the goal, and what was reached, lie to what the disk takes: a sentence a group. */
export function shareOfDisk(rows: readonly Row[]): string {
  const groups = Map.groupBy(rows, ({ group }) => group);
  return [...groups].map(([group, all]) => sentenceOf(group, all)).join(' ');
}

function sentenceOf(group: string, rows: readonly Row[]): string {
  const [idle, ours, disk] = [IDLE, TIDEMARK, DISK].map((name) => {
    const row = rows.find((one) => one.name === name)!;
    return spreadIn(row, 'vectors')!.median;
  }) as [number, number, number];
  const goal = idle * GOAL;
  const verdict =
    goal > disk
      ? 'so no store can keep up with that durably here'
      : 'so the disk does not stand against it';
  return `${group}: ${GOAL * 100} % of kafkajs are ${shown(goal)} MB/s of vectors, and the disk takes ${shown(disk)} MB/s, ${verdict}; Tidemark stores ${shown(ours)} MB/s, ${shown((ours / disk) * 100)} % of what the disk takes.`;
}
