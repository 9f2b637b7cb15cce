import { Command, InvalidArgumentError } from 'commander';

import { type Cli, clientOf, timeOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Difference, DiffLine, DiffSide, DiffSummary } from '../client.ts';
import type { Cell, Output } from '../output.ts';
import { questionOf, type QuestionOptions, withQuestion } from '../question.ts';

interface DiffOptions extends QuestionOptions {
  from: string;
  to: string;
  minDistance?: number;
}

/** A table holds its rows until it is whole; whoever wants all of them takes the lines. */
const ROWS_MAX = 100;

/** `tidemark diff`: what changed in a view between two moments. */
export function diffCommand(cli: Cli): Command {
  const command = new Command('diff')
    .description('Show which entities of a view changed between two moments, and how far.')
    .argument('<view>', 'the feature view')
    .requiredOption('--from <time>', 'the moment to compare from, RFC 3339', timeOption)
    .requiredOption('--to <time>', 'the moment to compare to', timeOption)
    .option('--min-distance <number>', 'leave out vectors that moved less, 0 to 2', distanceOption);
  return withJson(withUrl(withQuestion(command))).action(
    async (view: string, options: DiffOptions, self: Command) => {
      const lines = clientOf(cli, self).diff({
        feature_view: view,
        from: options.from,
        to: options.to,
        ...(options.version !== undefined && { version: options.version }),
        ...(options.minDistance !== undefined && { min_distance: options.minDistance }),
        ...questionOf(options),
      });
      if (wantsJson(self)) for await (const line of lines) cli.output.printJson(line);
      else await printDiff(cli.output, lines);
    },
  );
}

async function printDiff(output: Output, lines: AsyncIterable<DiffLine>): Promise<void> {
  const rows: Cell[][] = [];
  let count = 0;
  for await (const line of lines) {
    if ('__summary' in line) printSummary(output, line['__summary']);
    else if ('entity_id' in line && count++ < ROWS_MAX) rows.push(rowOf(line));
  }
  if (count === 0) return;
  output.print();
  output.printTable(['ENTITY', 'CHANGE', 'COSINE', 'FROM', 'TO'], rows);
  if (count > ROWS_MAX) output.say(`There are ${count - ROWS_MAX} more: --json has all of them.`);
}

function printSummary(output: Output, summary: DiffSummary): void {
  const { feature_view, version, snapshot, entities, added, removed, unchanged } = summary;
  const { changed, below_min_distance: near } = summary;
  output.print(
    `${feature_view}@${version}, snapshot ${snapshot}: of ${entities} entities ${added} added, ` +
      `${removed} removed, ${changed} changed${near > 0 ? ` (${near} of them too little to be shown)` : ''}, ` +
      `${unchanged} unchanged`,
  );
}

function rowOf({ entity_id, change, cosine_similarity, from, to }: Difference): Cell[] {
  return [entity_id, change, cosine_similarity?.toFixed(6) ?? '', sideOf(from), sideOf(to)];
}

function sideOf({ status, reason, event_timestamp }: DiffSide): string {
  return status === 'PRESENT' ? (event_timestamp ?? '') : (reason ?? status);
}

function distanceOption(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 2) return value;
  throw new InvalidArgumentError('expected a number from 0 to 2');
}
