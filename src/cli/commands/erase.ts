import { readFileSync } from 'node:fs';

import { Command } from 'commander';

import type { ErasureAnswer } from '../../api/schemas/erase.ts';
import { excerpt } from '../../ground/excerpt.ts';
import { type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Client } from '../client.ts';
import { UsageError } from '../failure.ts';
import { readInput } from '../input.ts';
import type { Cell, Output } from '../output.ts';

interface EraseOptions {
  idsFrom?: string;
  view?: string;
  lift?: boolean;
  exact?: boolean;
  compact?: boolean;
}

/** Ids of one request: the server's default limit. */
const PAGE = 10_000;

/** `tidemark erase`: entities are gone for good, or may come again. */
export function eraseCommand(cli: Cli): Command {
  const command = new Command('erase')
    .description('Erase entities for good, in every model version, present and future.')
    .argument('<entity>', 'the entity type, such as job')
    .argument('[ids...]', 'ids of entities')
    .option('--ids-from <file>', 'a file with one id a line; - for the standard input')
    .option('--exact', 'with --ids-from: blanks at the ends of a line are of the id')
    .option('--view <view>', 'in this feature view alone')
    .option('--compact', 'compact at once, so that nothing is left in the files')
    .option('--lift', 'let erased entities come again');
  return withJson(withUrl(command)).action(
    async (entity: string, given: string[], options: EraseOptions, self: Command) => {
      const ids = [...given, ...(await idsFrom(cli, options))];
      if (ids.length === 0) throw new UsageError('no ids: give some, or --ids-from FILE');
      const client = clientOf(cli, self);
      const scope = {
        entity,
        ...(options.view !== undefined && { feature_view: options.view }),
      };
      const pages = Array.from({ length: Math.ceil(ids.length / PAGE) }, (_, at) => ({
        ...scope,
        entity_ids: ids.slice(at * PAGE, (at + 1) * PAGE),
      }));
      if (options.lift === true) {
        let lifted = 0;
        for (const page of pages) lifted += (await client.liftErasure(page)).entities;
        cli.output.say(`${lifted} entities of the type ${entity} may be stored again.`);
        return;
      }
      const receipts = [];
      for (const page of pages) receipts.push(await client.erase(page));
      if (options.compact === true) {
        await client.compact(options.view === undefined ? {} : { feature_view: options.view });
      }
      const now = [];
      for (const { erasure_id } of receipts) now.push(await client.erasure(erasure_id));
      show(cli.output, now, wantsJson(self));
    },
  );
}

/** `tidemark erasures`: the receipts, with the stages that they have come to. */
export function erasuresCommand(cli: Cli): Command {
  const command = new Command('erasures')
    .description('Show the receipts of erasures: what is gone from where, and since when.')
    .argument('[ids...]', 'ids of erasures; default: all');
  return withJson(withUrl(command)).action(async (ids: string[], _: object, self: Command) => {
    const client = clientOf(cli, self);
    const receipts = ids.length === 0 ? await client.erasures() : await each(client, ids);
    show(cli.output, receipts, wantsJson(self));
  });
}

async function each(client: Client, ids: readonly string[]): Promise<ErasureAnswer[]> {
  const receipts = [];
  for (const id of ids) receipts.push(await client.erasure(id));
  return receipts;
}

/**
 * An id may begin or end with blanks, and a line that does so by mistake would leave the entity that
 * was meant where it is: neither is guessed. Throws UsageError, with the line.
 */
async function idsFrom(cli: Cli, { idsFrom: file, exact }: EraseOptions): Promise<string[]> {
  if (file === undefined) return [];
  const lines = (await readText(cli, file)).split(/\r?\n/);
  const odd = exact === true ? -1 : lines.findIndex((line) => line !== line.trim());
  if (odd >= 0) {
    throw new UsageError(
      `line ${odd + 1} of ${file} begins or ends with white space: ${excerpt(lines[odd])}; ` +
        'mend it, or say with --exact that it is of the id. Nothing was erased.',
    );
  }
  return lines.filter((line) => line !== '');
}

async function readText(cli: Cli, file: string): Promise<string> {
  if (file !== '-') return readInput(file, 'one id a line', () => readFileSync(file, 'utf8'));
  const pieces = [];
  for await (const piece of cli.stdin) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function show(output: Output, receipts: readonly ErasureAnswer[], asJson: boolean): void {
  if (asJson) {
    output.printJson({ erasures: receipts });
    return;
  }
  const rows = receipts.map((receipt): Cell[] => {
    const { erased, compacted } = receipt.stages;
    return [
      receipt.erasure_id,
      receipt.feature_view === null
        ? receipt.entity
        : `${receipt.entity} in ${receipt.feature_view}`,
      receipt.entities,
      erased.at,
      erased.removed_at ?? 'waiting',
      compacted.at ?? 'waiting',
    ];
  });
  output.printTable(['ERASURE', 'ENTITY', 'ASKED', 'ERASED', 'REMOVED', 'COMPACTED'], rows);
  // What holds for the newest holds for those before it.
  const newest = receipts.toSorted((a, b) => b.seq - a.seq)[0];
  const reach = newest?.out_of_reach ?? [];
  if (reach.length > 0) output.say(`Out of reach:\n${reach.map((line) => `- ${line}`).join('\n')}`);
}
