import { type Panel, shown } from './bars.ts';
import { publish } from './report.ts';
import { labelOf, type Metric, type Row, spreadIn, spreadText } from './rows.ts';
import { medianOf } from './statistics.ts';

/** Rows, as a page. */
export interface RowsPage {
  name: string;
  title: string;
  command: string;
  text: readonly string[];
  metrics: readonly Metric[];
  rows: readonly Row[];
  /** The metrics that have a plot, one panel a group. */
  plotted: readonly string[];
  /** Rows are also told as multiples of the rows of these names in their group. */
  baselines?: readonly Baseline[];
  results: object;
  isStandard: boolean;
}

export interface Baseline {
  name: string;
  /** By its key. */
  metric: string;
}

/** Publishes them: a line a row, with median, least and most of each metric. */
export function publishRows(page: RowsPage): void {
  const { metrics, rows, baselines = [] } = page;
  publish(
    {
      ...page,
      table: [
        [
          '',
          '',
          ...metrics.map(({ title }) => title),
          ...baselines.map(({ name }) => `${name} = 1`),
        ],
        ...rows.map((row) => [
          row.group,
          row.name,
          ...metrics.map(({ key }) => spreadText(spreadIn(row, key))),
          ...baselines.map((baseline) => multiple(rows, row, baseline)),
        ]),
      ],
      panels: page.plotted.flatMap((key) => panelsOf(page, key)),
    },
    page.isStandard,
    new Date(),
  );
}

function multiple(
  rows: readonly Row[],
  { group, values }: Row,
  { name, metric }: Baseline,
): string {
  const base = rows.find((row) => row.group === group && row.name === name);
  const [own, one] = [values[metric], base?.values[metric]];
  if (own === undefined || one === undefined) return '';
  return shown(medianOf(own) / medianOf(one));
}

function panelsOf({ metrics, rows }: RowsPage, key: string): Panel[] {
  const metric = metrics.find((each) => each.key === key)!;
  const best = metric.better === undefined ? '' : `, ${metric.better} is better`;
  const measured = rows.filter((row) => row.values[key] !== undefined);
  return [...Map.groupBy(measured, ({ group }) => group)].map(([group, all]) => ({
    title: `${labelOf({ group, name: metric.title })}${best}`,
    unit: metric.unit,
    bars: all.map((row) => {
      const { median, least, most } = spreadIn(row, key)!;
      return { name: row.name, value: median, least, most, isOurs: isOurs(row.name) };
    }),
  }));
}

/** By its name: what is drawn in our colour. */
export function isOurs(name: string): boolean {
  return name.startsWith('Tidemark');
}
