import { join, resolve } from 'node:path';

import { Command, InvalidArgumentError } from 'commander';

import { TidemarkError } from '../../ground/errors.ts';
import type { LakeSubject } from '../../timetravel/lake/lake.ts';
import { BUCKETS_MAX } from '../../timetravel/lake/layout.ts';
import { type Cli, clientOf, countOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Client } from '../client.ts';
import { ServerRefused, ServerUnreachable, UsageError } from '../failure.ts';

interface LakeOptions {
  out: string;
  buckets?: number;
}

/** `tidemark lake`: what there is in the files that other engines read. */
export function lakeCommand(cli: Cli): Command {
  return new Command('lake')
    .description('Keep a copy of a feature view’s history that Spark, DuckDB and Trino read.')
    .addCommand(exportCommand(cli));
}

function exportCommand(cli: Cli): Command {
  const command = new Command('export')
    .description(
      'Write every revision and vector to Parquet files under DIRECTORY/VIEW/VERSION; run again, what came since.',
    )
    .argument('<view>', 'the feature view, or view@version')
    .requiredOption('--out <directory>', 'where the files go; made where there is none')
    .option(
      '--buckets <count>',
      'parts of a day, by entity; in a new table one for each 10 million revisions, up to 16',
      bucketsOption,
    )
    .addHelpText(
      'after',
      '\nWhat is whole is told by _tidemark/state.json. Entities that were erased since are removed.',
    );
  return withJson(withUrl(command)).action(
    async (reference: string, { out, buckets }: LakeOptions, self: Command) => {
      const client = clientOf(cli, self);
      const { subject, size } = await subjectOf(client, reference);
      const { exportChanges } = await import('../../timetravel/lake/export.ts');
      const { Lake } = await import('../../timetravel/lake/lake.ts');
      const table = join(resolve(out), subject.feature_view, subject.version);
      const lake = new Lake(table, subject, { buckets, revisions: size });
      const counts = { up_to: 0, goal: 0, revisions: 0 };
      const what = '{up_to} of {goal} changes read, {revisions} revisions';
      const progress = cli.output.startProgress(what, undefined, counts);
      try {
        const frames = client.changes(subject.feature_view, lake.summary.after);
        const summary = await exportChanges(lake, frames, ({ upTo, goal, revisions }) =>
          progress.update(0, { up_to: upTo, goal, revisions }),
        );
        progress.stop();
        if (wantsJson(self)) {
          cli.output.printJson(summary);
          return;
        }
        const { directory, snapshot, files, vectors, erased } = summary;
        cli.output.print(
          `${directory}: ${summary.revisions} revisions and ${vectors} vectors in ${files} new files, snapshot ${snapshot}.`,
        );
        if (erased > 0) cli.output.print(`${erased} revisions of erased entities were removed.`);
      } catch (error) {
        throw explained(error, table);
      } finally {
        progress.stop();
        lake.close();
      }
    },
  );
}

/** What an error of the server's means to an export. */
function explained(error: unknown, table: string): unknown {
  if (error instanceof TidemarkError && error.code === 'SHUTTING_DOWN') {
    return new ServerUnreachable(error.message, { cause: error });
  }
  if (error instanceof ServerRefused && error.code === 'SNAPSHOT_UNAVAILABLE') {
    return new UsageError(
      `the server has not come as far as the lake table ${table} (${error.message}): ` +
        'wait for a replica that is behind, or export into an empty directory',
      { cause: error },
    );
  }
  return error;
}

function bucketsOption(text: string): number {
  const buckets = countOption(1)(text);
  if (buckets > BUCKETS_MAX) throw new InvalidArgumentError(`expected ${BUCKETS_MAX} at most`);
  return buckets;
}

/** Throws ServerRefused where there is no such view or version. */
async function subjectOf(
  client: Client,
  reference: string,
): Promise<{ subject: LakeSubject; size: number }> {
  const [name, asked] = reference.split('@');
  const view = await client.view(name!);
  const version = asked ?? view.aliases.current;
  const found = view.versions[version];
  if (found === undefined) {
    const expected = Object.keys(view.versions).join(', ');
    const why = `got the version ${version} of ${name}, expected one of ${expected}`;
    throw new ServerRefused(404, 'VERSION_NOT_FOUND', why, null);
  }
  const { feature_view, entity, join_key } = view;
  const { dim, dtype, revisions: size } = found;
  return { subject: { feature_view, version, entity, join_key, dim, dtype }, size };
}
