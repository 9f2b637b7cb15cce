import { accessSync, constants, createReadStream, statSync } from 'node:fs';

import { Command, Option } from 'commander';

import type { PushAnswer } from '../../api/schemas/push.ts';
import { answered, type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import { readInput } from '../input.ts';
import type { Output } from '../output.ts';
import { readBatches } from '../records.ts';
import { withRetries } from '../retry.ts';

interface PushOptions {
  version?: string;
  known?: string;
}

/** What became of all that was pushed. A record counts once for every model version it went to. */
interface Totals {
  records: number;
  latest: number;
  history: number;
  duplicate: number;
  rejected: number;
  /** A state that holds all of it; null when nothing was sent. */
  snapshot: number | null;
}

/** `tidemark push`: records from a file or a pipe into a feature view. */
export function pushCommand(cli: Cli): Command {
  const command = new Command('push')
    .description('Push records, one JSON object a line, to a feature view.')
    .argument('<view>', 'the feature view')
    .argument('[file]', 'NDJSON; - for standard input', '-')
    .option('--version <version>', 'the model version that the vectors are of')
    .addOption(
      new Option('--known <when>', 'when records that do not say were known').choices([
        'arrival',
        'event',
      ]),
    )
    .addHelpText('after', '\nPushing a file again is safe: what is stored counts as duplicate.');
  return withJson(withUrl(command)).action(
    async (view: string, file: string, { version, known }: PushOptions, self: Command) => {
      const client = clientOf(cli, self);
      const query = new URLSearchParams({
        feature_view: view,
        ...(version !== undefined && { version }),
        ...(known !== undefined && { known }),
      });
      const total =
        file === '-' ? undefined : readInput(file, 'one record a line', () => sizeOf(file));
      const input = file === '-' ? cli.stdin : createReadStream(file);
      const totals = noTotals();
      const progress = cli.output.startProgress(
        '{records} records, {duplicate} duplicate, {rejected} rejected',
        total,
        { ...totals },
      );
      try {
        for await (const { body, lines, bytesRead } of readBatches(input)) {
          const answer = await withRetries(
            async () => client.push(query, body),
            cli.sleep,
            (ms, { message }) => cli.output.say(`waiting ${ms} ms: ${message}`),
          );
          addAnswer(totals, answer, lines.length);
          sayRejected(cli.output, answer.rejected, lines, wantsJson(self));
          progress.update(bytesRead, { ...totals });
        }
      } finally {
        // Also when the server gave up half-way: what came before is stored.
        progress.stop();
        if (wantsJson(self)) cli.output.printJson({ feature_view: view, ...totals });
        else cli.output.print(inWords(view, totals));
      }
      cli.exitCode = answered(totals.rejected === 0);
    },
  );
}

/** Bytes of a file that can be read; throws for one that cannot. */
function sizeOf(file: string): number {
  accessSync(file, constants.R_OK);
  return statSync(file).size;
}

function noTotals(): Totals {
  return { records: 0, latest: 0, history: 0, duplicate: 0, rejected: 0, snapshot: null };
}

function addAnswer(
  totals: Totals,
  { versions, rejected, snapshot }: PushAnswer,
  records: number,
): void {
  totals.records += records;
  totals.rejected += rejected.length;
  for (const { latest, history, duplicate } of Object.values(versions)) {
    totals.latest += latest;
    totals.history += history;
    totals.duplicate += duplicate;
  }
  totals.snapshot = snapshot;
}

/** `lines`: the line of the input that each record stands on. */
function sayRejected(
  output: Output,
  rejected: PushAnswer['rejected'],
  lines: readonly number[],
  json: boolean,
): void {
  for (const { index, code, message: told } of rejected) {
    // The server counts the lines of one request; what the reader has is the file.
    const message = told.replace(/^line \d+ /, 'it ');
    const line = lines[index]!;
    output.say(
      json ? JSON.stringify({ line, code, message }) : `line ${line}: ${code}: ${message}`,
    );
  }
}

function inWords(view: string, totals: Totals): string {
  const { records, latest, history, duplicate, rejected, snapshot } = totals;
  const parts = [`${latest} latest`, `${history} history`, `${duplicate} duplicate`];
  const state = snapshot === null ? '' : `; snapshot ${snapshot}`;
  return `${records} records to ${view}: ${parts.join(', ')}, ${rejected} rejected${state}`;
}
