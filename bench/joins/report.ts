import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';

import { barsSvg, type Panel } from './bars.ts';

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
  /** All numbers as they were measured. */
  results: object;
}

/**
 * Prints the table; of a run in its standard size, also writes the page, its plot, and the numbers
 * into the docs: a run that was cut short for a look says nothing there.
 */
export function publish(report: Report, isStandard: boolean, date: Date): void {
  const ground = groundOf(date);
  const table = tableOf(report.table);
  console.log(`${groundText(ground)}\n\n${report.text.join('\n\n')}\n\n${table}`);
  if (!isStandard) return;
  const { name, title, command, text, panels, results } = report;
  const page = [
    `# ${title}`,
    `Made by \`${command}\`. ${groundText(ground)}`,
    ...text,
    `![${title}](${name}.svg)`,
    table,
    `All numbers: [${name}.json](${name}.json).`,
  ].join('\n\n');
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, `${name}.md`), `${page}\n`);
  writeFileSync(join(FOLDER, `${name}.svg`), barsSvg(title, panels));
  const numbers = { ...ground, command, ...results };
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(numbers, undefined, 2)}\n`);
}

interface Ground {
  date: string;
  commit: string;
  cpu: string;
  cores: number;
  memory_bytes: number;
  kernel: string;
  node: string;
}

function groundOf(date: Date): Ground {
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

function groundText({ date, commit, cpu, cores, memory_bytes, kernel, node }: Ground): string {
  const memory = (memory_bytes / 2 ** 30).toFixed(0);
  return `${date}, commit ${commit}, ${cpu} × ${cores}, ${memory} GiB, Linux ${kernel}, Node ${node}.`;
}

function tableOf([head, ...rows]: readonly (readonly string[])[]): string {
  const rule = `|---|${'---:|'.repeat(head!.length - 1)}`;
  return [lineOf(head!), rule, ...rows.map(lineOf)].join('\n');
}

function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
