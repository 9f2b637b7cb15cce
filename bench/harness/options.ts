import { parseArgs } from 'node:util';

/** How a scenario is run, of its command line. */
export interface Options {
  /** The benchmark's own sizes and rounds: what it finds is written into the docs. */
  isStandard: boolean;
  /** Serving workers of the server. */
  workers: number;
  /** What else stands there. */
  words: readonly string[];
}

/** What a scenario can do something with, beside `--quick`. */
export type Taken = 'workers' | 'words';

/**
 * `--quick`: a short look that writes nothing; `--workers N`: a variant with a page of its own. What
 * a scenario does not take is refused: it would measure something else than it was asked for.
 */
export function askedOptions(
  taken: readonly Taken[] = [],
  args: readonly string[] = process.argv.slice(2),
): Options {
  const { values, positionals: words } = parseArgs({
    args: [...args],
    options: { quick: { type: 'boolean', default: false }, workers: { type: 'string' } },
    allowPositionals: true,
  });
  const workers = Number(values.workers ?? 0);
  if (!Number.isSafeInteger(workers) || workers < 0) {
    throw new Error(`--workers ${values.workers}: expected a whole number from 0 on`);
  }
  if (values.workers !== undefined && !taken.includes('workers')) {
    throw new Error('--workers: this benchmark has no server that would be another with workers');
  }
  if (words.length > 0 && !taken.includes('words')) {
    throw new Error(`${words.join(' ')}: expected no more words`);
  }
  return { isStandard: !values.quick && words.length === 0, workers, words };
}

/** The words of the server's command line that the options mean. */
export function serverArgs({ workers }: Options): string[] {
  return workers === 0 ? [] : ['--workers', `${workers}`];
}

/** Of the page: a variant does not overwrite the scenario's own. */
export function pageName(scenario: string, { workers }: Options): string {
  return workers === 0 ? scenario : `${scenario}-${workers}-workers`;
}

/** How the run is made again. */
export function commandOf(scenario: string, { workers }: Options): string {
  return ['npm run bench --', scenario, ...(workers === 0 ? [] : ['--workers', workers])].join(' ');
}
