import { shown } from './bars.ts';
import { type Spread, spreadOf } from './statistics.ts';
import { takeTurns } from './turns.ts';

/** One number that is measured of each contender. */
export interface Metric {
  /** In the JSON. */
  key: string;
  /** At the head of its column. */
  title: string;
  unit: string;
  /** What is better; of one that only explains, neither. */
  better?: 'more' | 'less';
}

/** Somebody who can do the work. */
export interface Contender {
  name: string;
  /** What it is compared within, such as `8 in flight`. */
  group: string;
  /** Does its share of the work once, or has nothing to warm up; what was measured, by the metric's key. */
  turn(isWarmUp: boolean): Promise<Readonly<Record<string, number>>>;
}

/** What was measured of one, in the order of its turns, by the metric's key. */
export interface Row {
  name: string;
  group: string;
  values: Record<string, number[]>;
}

/** Lets them work in turns, those of a group next to each other; the warm-up is not in the rows. */
export async function measureInTurns(
  contenders: readonly Contender[],
  rounds: number,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const group of Map.groupBy(contenders, (each) => each.group).values()) {
    const measured = new Map(
      group.map((each): [Contender, Row] => [
        each,
        { name: each.name, group: each.group, values: {} },
      ]),
    );
    await takeTurns(group, rounds, async (contender, isWarmUp) => {
      const sample = await contender.turn(isWarmUp);
      const told = Object.entries(sample).map(([key, value]) => `${key} ${shown(value)}`);
      const when = isWarmUp ? ', warm-up' : '';
      if (told.length > 0) console.error(`${labelOf(contender)}${when}: ${told.join(', ')}`);
      if (isWarmUp) return;
      const { values } = measured.get(contender)!;
      for (const [key, value] of Object.entries(sample)) (values[key] ??= []).push(value);
    });
    rows.push(...measured.values());
  }
  return rows;
}

/** Of a page: how often they did. */
export function turnsText(rounds: number, turn: string): string {
  return `Rounds: ${rounds}, in turns, after one that warms up; a turn is ${turn}; median (least–most).`;
}

/** What it is called where there is one name for it. */
export function labelOf({ group, name }: { group: string; name: string }): string {
  return group === '' ? name : `${group}: ${name}`;
}

export function spreadIn(row: Row, key: string): Spread | undefined {
  const numbers = row.values[key];
  return numbers === undefined ? undefined : spreadOf(numbers);
}

/** `1234 (1200–1260)`: the median, the least and the most; empty where nothing was measured. */
export function spreadText(spread: Spread | undefined): string {
  if (spread === undefined) return '';
  const { median, least, most } = spread;
  return least === most ? shown(median) : `${shown(median)} (${shown(least)}–${shown(most)})`;
}
