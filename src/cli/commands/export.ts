import { createReadStream, existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';

import { Command } from 'commander';

import type { ExportAnswer } from '../../api/schemas/exports.ts';
import { SPINE_TYPES, spineFormatOf } from '../../timetravel/spine/naming.ts';
import { type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Client } from '../client.ts';
import {
  type ExportOptions,
  optionsOfJoin,
  queryOf,
  revisionsOf,
  withExport,
} from '../export-options.ts';
import { awaitExport, fetchExport, sayFetched } from '../export-run.ts';
import { UsageError } from '../failure.ts';
import { readInput } from '../input.ts';
import { withRetries } from '../retry.ts';

interface FetchOptions {
  out?: string;
  detach?: boolean;
  keepOnServer?: boolean;
}

/** `tidemark export`: a training join into files. */
export function exportCommand(cli: Cli): Command {
  const command = new Command('export')
    .description(
      'Join a spine to the vectors in force at each of its rows’ moments, and fetch the answer as files; or all revisions of a view.',
    )
    .argument(
      '[spine]',
      'rows with ids and moments: NDJSON, CSV, Arrow stream or Parquet; - for standard input',
    )
    .option('--out <directory>', 'where the files go; made where there is none')
    .option('--detach', 'end when it is taken in; fetch it later with "tidemark exports get"')
    .option('--keep-on-server', 'leave the files on the server, too')
    .addHelpText(
      'after',
      '\nThe files are all there, and checked, when DIRECTORY/manifest.json is.',
    );
  return withJson(withUrl(withExport(command))).action(
    async (spine: string | undefined, options: ExportOptions & FetchOptions, self: Command) => {
      const { detach = false, keepOnServer = false } = options;
      if (detach && options.out !== undefined) {
        throw new UsageError(
          '--detach fetches nothing: leave out --out, or say it to "exports get"',
        );
      }
      const out = detach ? undefined : targetOf(options.out);
      const client = clientOf(cli, self);
      const started = await start(cli, client, spine, options);
      const { id } = started;
      if (out === undefined) {
        if (wantsJson(self)) cli.output.printJson(started);
        else cli.output.print(id);
        return;
      }
      cli.output.say(
        `export ${id}; should this break off: tidemark exports get ${id} --out ${options.out}`,
      );
      const told = await awaitExport(cli, client, id);
      await fetchExport(cli, client, told, out);
      if (!keepOnServer) await client.removeExport(id);
      if (wantsJson(self)) cli.output.printJson({ directory: out, ...told });
      else sayFetched(cli, told, out);
    },
  );
}

/** Throws UsageError before a long work is begun whose end has no place. */
function targetOf(out: string | undefined): string {
  if (out === undefined || out === '') {
    throw new UsageError(
      'say with --out where the files go, or with --detach that they are fetched later',
    );
  }
  if (existsSync(join(out, 'manifest.json'))) {
    throw new UsageError(`${out} holds an export already: name an empty or a new directory`);
  }
  let nearest = resolve(out);
  while (!existsSync(nearest)) nearest = dirname(nearest);
  if (!statSync(nearest).isDirectory()) {
    throw new UsageError(`${nearest} is no directory: name an empty or a new one with --out`);
  }
  return resolve(out);
}

async function start(
  cli: Cli,
  client: Client,
  spine: string | undefined,
  options: ExportOptions,
): Promise<ExportAnswer> {
  const { revisions, views } = options;
  if (options.vectorFormat !== undefined && options.vectors !== 'ref') {
    throw new UsageError('--vector-format is of --vectors ref: say that, too, or leave it out');
  }
  const patiently = async (ask: () => Promise<ExportAnswer>) =>
    withRetries(ask, cli.sleep, (ms, { message }) =>
      cli.output.say(`waiting ${ms} ms: ${message}`),
    );
  if (revisions !== undefined) {
    if (spine !== undefined || views !== undefined) {
      throw new UsageError('--revisions are exported without a spine and without --views');
    }
    const ofJoin = optionsOfJoin(options);
    if (ofJoin.length > 0) {
      throw new UsageError(`${ofJoin.join(', ')}: of a join, without effect on --revisions`);
    }
    return patiently(async () => client.startRevisions(revisionsOf(revisions, options)));
  }
  if (spine === undefined || views === undefined) {
    throw new UsageError('name a spine and with --views what to join, or say --revisions');
  }
  if (options.from !== undefined || options.to !== undefined) {
    throw new UsageError('--from and --to are of --revisions: a row of a spine has its own moment');
  }
  const query = queryOf(options);
  if (spine === '-') {
    const type = SPINE_TYPES[options.spineFormat ?? 'ndjson'];
    return client.startExport(query, type, Readable.from(cli.stdin, { objectMode: false }));
  }
  const format = options.spineFormat ?? spineFormatOf(spine);
  if (format === undefined) {
    throw new UsageError(
      `${spine} does not say by its name what it is: say it with --spine-format`,
    );
  }
  const found = readInput(spine, 'the rows of a spine', () => statSync(spine));
  if (found.isDirectory()) {
    throw new UsageError(
      `${spine} is a directory: name a file with the rows of a spine, or - for the standard input`,
    );
  }
  const send = async () => client.startExport(query, SPINE_TYPES[format], createReadStream(spine));
  // What came from a pipe cannot be sent twice.
  return found.isFile() ? patiently(send) : send();
}
