import { resolve } from 'node:path';

import { Command } from 'commander';

import type { BackupAnswer } from '../../api/schemas/backup.ts';
import { systemClock } from '../../ground/time.ts';
import {
  type Cli,
  clientOf,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withJson,
  withUrl,
} from '../cli.ts';
import { UsageError } from '../failure.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

type BackupDone = Omit<BackupAnswer, 'seconds'>;

/** `tidemark backup`: the whole store, as it is at one moment, in another directory. */
export function backupCommand(cli: Cli): Command {
  const command = new Command('backup')
    .description(
      'Copy the store, as it is at one snapshot, into an empty or a new directory: of a running server by its address (the directory is on its disk), of a stopped one by its data directory.',
    )
    .argument('<directory>', 'where to; made where there is none')
    .option('--data <directory>', 'the data directory of a stopped server');
  return withJson(withUrl(command)).action(
    async (directory: string, { data }: ConfigOptions, self: Command) => {
      const target = resolve(directory);
      const done: BackupDone =
        data === undefined
          ? await clientOf(cli, self).backup({ directory: target })
          : await backUpDirectory(cli, data, target);
      if (wantsJson(self)) {
        cli.output.printJson(done);
        return;
      }
      const rows = done.versions.map(({ feature_view, version, entities, revisions, vectors }) => [
        `${feature_view}@${version}`,
        entities,
        revisions,
        vectors,
      ]);
      cli.output.printTable(['VERSION', 'ENTITIES', 'REVISIONS', 'VECTORS'], rows);
      cli.output.print();
      cli.output.print(
        `${done.directory}: snapshot ${done.snapshot}, ${done.bytes} bytes, verified.`,
      );
    },
  );
}

async function backUpDirectory(cli: Cli, directory: string, target: string): Promise<BackupDone> {
  const { data } = await loadSettings(cli, { data: directory });
  const { checkDirectory } = await import('../../store/format.ts');
  const { openStore } = await import('../../store/store.ts');
  // Opening would make a directory that is not there.
  checkDirectory(data);
  const store = openStore(data, systemClock);
  // What was begun is taken back; a second signal ends the process on the spot.
  const stopping = new AbortController();
  const stop = () =>
    stopping.abort(new UsageError('the backup was broken off, and nothing is left of it'));
  for (const signal of SIGNALS) process.once(signal, stop);
  const progress = cli.output.startProgress('{vectors} vectors', undefined, { vectors: 0 });
  try {
    const { snapshot, created_timestamp, files, versions } = await store.backup(target, {
      signal: stopping.signal,
      onProgress: ({ vectors }) => progress.update(vectors, { vectors }),
    });
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    return { directory: target, snapshot, created_timestamp, files: files.length, bytes, versions };
  } finally {
    progress.stop();
    await store.close();
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}
