import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { barsSvg, type Panel } from './bars.ts';
import { changesSince, changesTable, type StoredRun } from './compare.ts';
import { type Ground, groundOf, groundText } from './ground.ts';
import type { Metric, Row } from './rows.ts';

const FOLDER = join(import.meta.dirname, '../../docs/benchmarks');

/** What a benchmark has to say. */
export interface Report {
  /** Of its files. */
  name: string;
  title: string;
  /** How it is run again. */
  command: string;
  /** Paragraphs: what was done, and what the columns mean. */
  text: readonly string[];
  table: readonly (readonly string[])[];
  panels: readonly Panel[];
  /** What is compared with the run before. */
  metrics: readonly Metric[];
  rows: readonly Row[];
  /** What else the numbers need to be understood: sizes, versions, other measurements. */
  results: object;
}

/**
 * Prints the tables; of a run in its standard size, also writes the page, its plot, and the numbers
 * into the docs, and says what has changed since the run whose numbers lie there: a run that was cut
 * short for a look says nothing there.
 */
export function publish(report: Report, isStandard: boolean, date: Date): void {
  const { name, title, command, text, panels, metrics, rows, results } = report;
  const ground = groundOf(date);
  const said = [`Made by \`${command}\`. ${groundText(ground)}`, ...text];
  // What a short look finds, of smaller data, says nothing beside the stored run.
  const told = [tableOf(report.table), ...(isStandard ? sinceBefore(report) : [])];
  console.log([...said, ...told].join('\n\n'));
  if (!isStandard) return;
  const page = [
    `# ${title}`,
    ...said,
    `![${title}](${name}.svg)`,
    ...told,
    `All numbers: [${name}.json](${name}.json).`,
  ].join('\n\n');
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, `${name}.md`), `${page}\n`);
  writeFileSync(join(FOLDER, `${name}.svg`), barsSvg(title, panels));
  const numbers = { ...ground, command, metrics, rows, ...results };
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(numbers, undefined, 2)}\n`);
}

function sinceBefore({ name, metrics, rows }: Report): string[] {
  const path = join(FOLDER, `${name}.json`);
  if (!existsSync(path)) return [];
  const before = JSON.parse(readFileSync(path, 'utf8')) as StoredRun & Ground;
  const changes = changesSince(before, rows, metrics);
  if (changes.length === 0) return [];
  const beyond = changes.filter(({ verdict }) => verdict !== 'within' && verdict !== 'once').length;
  return [
    '## Since the run before',
    `That was ${groundText(before)} Of ${changes.length} medians ${beyond} lie apart further than the runs spread.`,
    tableOf(changesTable(changes)),
  ];
}

function tableOf([head, ...rows]: readonly (readonly string[])[]): string {
  // Columns of numbers stand to the right; the first has names.
  const isText = head!.map((_, at) => at === 0 || rows.some((cells) => /^[^\d]/.test(cells[at]!)));
  const rule = isText.map((each) => (each ? '---' : '---:'));
  return [lineOf(head!), `|${rule.join('|')}|`, ...rows.map(lineOf)].join('\n');
}

function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
