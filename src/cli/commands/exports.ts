import { resolve } from 'node:path';

import { Command } from 'commander';

import type { ExportAnswer } from '../../api/schemas/exports.ts';
import { type Cli, clientOf, countOption, wantsJson, withJson, withUrl } from '../cli.ts';
import { awaitExport, fetchExport, sayFetched } from '../export-run.ts';
import { bytesText, type Cell } from '../output.ts';

const LIMIT = 20;

/** `tidemark exports`: those that there are, and what can be done with one. */
export function exportsCommand(cli: Cli): Command {
  const command = new Command('exports')
    .description('List exports, the newest first; fetch or cancel one.')
    .option('--limit <count>', 'exports to show at most', countOption(1), LIMIT)
    .action(async ({ limit }: { limit: number }, self: Command) => {
      const { exports, next } = await clientOf(cli, self).exports(limit);
      if (wantsJson(self)) {
        cli.output.printJson({ exports, next });
        return;
      }
      cli.output.printTable(
        ['EXPORT', 'STATE', 'ROWS', 'OF', 'BYTES', 'FORMAT', 'VIEWS', 'WHY'],
        exports.map(rowOf),
      );
      if (next !== null) cli.output.say('There are more: raise --limit.');
    });
  command.addCommand(getCommand(cli)).addCommand(cancelCommand(cli));
  return withJson(withUrl(command));
}

function rowOf(told: ExportAnswer): Cell[] {
  const { id, state, rows, rows_total, bytes, format, vectors, feature_views, problem } = told;
  return [
    id,
    state,
    rows,
    rows_total ?? '',
    bytesText(bytes),
    vectors === 'ref' ? `${format}, ref` : format,
    Object.keys(feature_views).join(','),
    problem?.code ?? '',
  ];
}

function getCommand(cli: Cli): Command {
  return new Command('get')
    .description('Wait until an export is done, and fetch its files; what broke off goes on.')
    .argument('<id>', 'the export')
    .requiredOption('--out <directory>', 'where the files go; made where there is none')
    .action(async (id: string, { out }: { out: string }, self: Command) => {
      const client = clientOf(cli, self);
      const told = await awaitExport(cli, client, id);
      await fetchExport(cli, client, told, resolve(out));
      if (wantsJson(self)) cli.output.printJson({ directory: resolve(out), ...told });
      else sayFetched(cli, told, resolve(out));
    });
}

function cancelCommand(cli: Cli): Command {
  return new Command('cancel')
    .description('Cancel an export that has not ended; remove one that has, with its files.')
    .argument('<id>', 'the export')
    .action(async (id: string, _options: object, self: Command) => {
      const client = clientOf(cli, self);
      const before = await client.export(id);
      const told = await client.removeExport(id);
      if (wantsJson(self)) cli.output.printJson(told);
      else cli.output.print(`${id}: ${removalOf(before, told)}.`);
    });
}

/** What became of an export that was to be gone: it may have ended before that was heard. */
function removalOf(before: ExportAnswer, told: ExportAnswer): string {
  if (told.state === 'cancelled' && before.state !== 'cancelled') {
    return `cancelled at ${told.rows} rows; its files are gone`;
  }
  if (told.state === 'done') return 'removed, with its files; it was done';
  return `removed; it ${told.state === 'failed' ? 'had failed' : `was ${told.state}`}`;
}
