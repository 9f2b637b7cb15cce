import { shown } from './bars.ts';
import { labelOf, type Metric, type Row, spreadIn, spreadText } from './rows.ts';
import type { Spread } from './statistics.ts';

/** A run as its JSON in the docs has it. */
export interface StoredRun {
  rows?: readonly Row[];
}

/** One number now beside the same one of the run before. */
export interface Change {
  group: string;
  name: string;
  metric: Metric;
  before: Spread;
  now: Spread;
  /** Of the medians. */
  ratio: number;
  /**
   * `within`: the spreads touch, so the runs do not tell the two apart; `once`: it was measured once
   * each time, so that nobody knows the spread.
   */
  verdict: 'within' | 'once' | 'better' | 'worse' | 'other';
}

/** What was measured in both runs, in the order of this one. */
export function changesSince(
  before: StoredRun,
  rows: readonly Row[],
  metrics: readonly Metric[],
): Change[] {
  const changes: Change[] = [];
  for (const row of rows) {
    const { group, name } = row;
    const old = before.rows?.find((each) => each.group === group && each.name === name);
    if (old === undefined) continue;
    for (const metric of metrics) {
      const [was, is] = [spreadIn(old, metric.key), spreadIn(row, metric.key)];
      if (was === undefined || is === undefined) continue;
      const ratio = is.median / was.median;
      const isOnce = [old, row].every(({ values }) => values[metric.key]!.length === 1);
      const verdict = isOnce ? 'once' : verdictOf(was, is, metric);
      changes.push({ group, name, metric, before: was, now: is, ratio, verdict });
    }
  }
  return changes;
}

function verdictOf(was: Spread, is: Spread, { better }: Metric): Change['verdict'] {
  const isMore = is.least > was.most;
  if (!isMore && is.most >= was.least) return 'within';
  if (better === undefined) return 'other';
  return isMore === (better === 'more') ? 'better' : 'worse';
}

const WORDS = {
  within: '',
  once: 'measured once',
  better: '**better**',
  worse: '**worse**',
  other: '**other**',
};

/** As cells, with their head. */
export function changesTable(changes: readonly Change[]): string[][] {
  const head = ['', '', 'before', 'now', 'now / before', 'beyond the spread'];
  return [
    head,
    ...changes.map((change) => [
      labelOf(change),
      change.metric.title,
      spreadText(change.before),
      spreadText(change.now),
      shown(change.ratio),
      WORDS[change.verdict],
    ]),
  ];
}
