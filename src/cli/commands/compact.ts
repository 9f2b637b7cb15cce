import { Command } from 'commander';

import { systemClock } from '../../ground/time.ts';
import type { Compaction } from '../../store/compaction.ts';
import {
  type Cli,
  clientOf,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withJson,
  withUrl,
} from '../cli.ts';
import { bytesText, type Cell } from '../output.ts';

/** `tidemark compact`: files with nothing in them but what is in force. */
export function compactCommand(cli: Cli): Command {
  const command = new Command('compact')
    .description(
      'Write what is in force into new files: of a running server by its address, of a stopped one by its directory.',
    )
    .argument('[view]', 'the feature view, or view@version; default: all')
    .option('--data <directory>', 'the data directory of a stopped server');
  return withJson(withUrl(command)).action(
    async (name: string | undefined, { data }: ConfigOptions, self: Command) => {
      const [feature_view, version] = name?.split('@') ?? [];
      const asked = {
        ...(feature_view !== undefined && { feature_view }),
        ...(version !== undefined && { version }),
      };
      const compactions =
        data === undefined
          ? (await clientOf(cli, self).compact(asked)).compactions
          : await compactDirectory(cli, data, asked);
      if (wantsJson(self)) {
        cli.output.printJson({ compactions });
        return;
      }
      const rows = compactions.map((each): Cell[] => [
        `${each.feature_view}@${each.version}`,
        bytesText(each.bytes_before),
        bytesText(each.bytes_after),
        each.revisions_dropped,
        each.vectors_dropped,
        each.seconds.toFixed(1),
      ]);
      const heads = ['VERSION', 'BEFORE', 'AFTER', 'REVISIONS DROPPED', 'VECTORS', 'SECONDS'];
      cli.output.printTable(heads, rows);
    },
  );
}

async function compactDirectory(
  cli: Cli,
  directory: string,
  asked: { feature_view?: string; version?: string },
): Promise<Compaction[]> {
  const { data } = await loadSettings(cli, { data: directory });
  const { checkDirectory } = await import('../../store/format.ts');
  const { openStore } = await import('../../store/store.ts');
  // Opening would make a directory that is not there.
  checkDirectory(data);
  const store = openStore(data, systemClock);
  const progress = cli.output.startProgress('{vectors} vectors', undefined, { vectors: 0 });
  try {
    const done: Compaction[] = [];
    for (const { view, version } of store.catalogue.select(asked.feature_view, asked.version)) {
      const told = (vectors: number): void => progress.update(vectors, { vectors });
      done.push(await store.compact(view, version, told));
    }
    return done;
  } finally {
    progress.stop();
    await store.close();
  }
}
