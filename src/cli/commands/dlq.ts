import { Command, InvalidArgumentError } from 'commander';

import type { DeadLetterAnswer, ReplayAnswer } from '../../api/schemas/dead-letters.ts';
import { answered, type Cli, clientOf, countOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { DeadLetterRequest } from '../client.ts';
import { UsageError } from '../failure.ts';
import { type Cell, visible } from '../output.ts';

interface FilterOptions {
  source?: string;
  topic?: string;
  code?: string;
  position?: DeadLetterRequest['positions'];
  all?: boolean;
}

const LIMIT = 100;
/** Letters of one request. */
const PAGE = 1_000;
/** Of a value in the table. */
const VALUE_CHARS = 48;

/** `tidemark dlq`: records of Kafka that could not become revisions. */
export function dlqCommand(cli: Cli): Command {
  return new Command('dlq')
    .description('List, try again and drop dead letters: records that could not become revisions.')
    .addCommand(listCommand(cli))
    .addCommand(replayCommand(cli))
    .addCommand(dropCommand(cli));
}

function withFilters(command: Command): Command {
  return command
    .argument('[view]', 'the feature view, or view@version; default: all')
    .option('--source <source>', 'those that this source has read')
    .option('--topic <topic>', 'those of this topic')
    .option('--code <code>', 'those with this reason, such as BAD_RECORD');
}

function withPositions(command: Command): Command {
  return withFilters(command).option(
    '--position <position>',
    'this one alone: source/topic/partition/offset; again for more',
    positionOption,
  );
}

function listCommand(cli: Cli): Command {
  const command = withFilters(new Command('list'))
    .description('List dead letters, with their reasons.')
    .option('--limit <count>', 'letters to show at most', countOption(1), LIMIT);
  return withJson(withUrl(command)).action(
    async (
      view: string | undefined,
      { limit, ...options }: FilterOptions & { limit: number },
      self: Command,
    ) => {
      const client = clientOf(cli, self);
      const letters: DeadLetterAnswer[] = [];
      let cursor: string | undefined;
      do {
        const count = Math.min(limit - letters.length, PAGE);
        const page = await client.deadLetters({ ...filterOf(view, options), limit: count, cursor });
        letters.push(...page.dead_letters);
        cursor = page.next ?? undefined;
      } while (cursor !== undefined && letters.length < limit);
      if (wantsJson(self)) {
        cli.output.printJson({ dead_letters: letters, next: cursor ?? null });
        return;
      }
      cli.output.printTable(
        ['VERSION', 'POSITION', 'CODE', 'KEY', 'VALUE', 'REASON'],
        letters.map(rowOf),
      );
      if (cursor !== undefined) cli.output.say('There may be more: raise --limit, or narrow it.');
    },
  );
}

function replayCommand(cli: Cli): Command {
  const command = withPositions(new Command('replay')).description(
    'Try dead letters again, as their sources are set now: all, or those that fit.',
  );
  return withJson(withUrl(command)).action(
    async (view: string | undefined, options: FilterOptions, self: Command) => {
      const client = clientOf(cli, self);
      let total: ReplayAnswer | undefined;
      let cursor: string | undefined;
      do {
        const request = { ...filterOf(view, options), limit: PAGE, cursor };
        const page = await client.replayDeadLetters(request);
        total = total === undefined ? page : sumOf(total, page);
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      if (wantsJson(self)) {
        cli.output.printJson(total);
      } else {
        const { next: _next, ...counts } = total;
        cli.output.printTable(
          Object.keys(counts).map((what) => what.toUpperCase()),
          [Object.values(counts)],
        );
      }
      if (total.unconfigured > 0) {
        cli.output.say(
          `${total.unconfigured} stay: no source of that name reads that topic into that version any more.`,
        );
      }
      cli.exitCode = answered(total.failed + total.unconfigured === 0);
    },
  );
}

function dropCommand(cli: Cli): Command {
  const command = withPositions(new Command('drop'))
    .description('Drop dead letters for good: those that fit, or all.')
    .option('--all', 'all that there are, where nothing else says which');
  return withJson(withUrl(command)).action(
    async (view: string | undefined, options: FilterOptions, self: Command) => {
      const filter = filterOf(view, options);
      if (Object.keys(filter).length === 0 && options.all !== true) {
        throw new UsageError('say which dead letters to drop, or --all');
      }
      const client = clientOf(cli, self);
      let dropped = 0;
      let cursor: string | undefined;
      do {
        const page = await client.dropDeadLetters({ ...filter, limit: PAGE, cursor });
        dropped += page.dropped;
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      if (wantsJson(self)) cli.output.printJson({ dropped });
      else cli.output.say(`${dropped} dead letters dropped.`);
    },
  );
}

function filterOf(
  name: string | undefined,
  { source, topic, code, position: positions }: FilterOptions,
): Omit<DeadLetterRequest, 'limit' | 'cursor'> {
  const [feature_view, version] = name?.split('@') ?? [];
  return {
    ...(feature_view !== undefined && { feature_view }),
    ...(version !== undefined && { version }),
    ...(source !== undefined && { source }),
    ...(topic !== undefined && { topic }),
    ...(code !== undefined && { code }),
    ...(positions !== undefined && { positions }),
  };
}

function positionOption(
  text: string,
  before: DeadLetterRequest['positions'],
): DeadLetterRequest['positions'] {
  const match = /^([^/]+)\/([^/]+)\/(\d+)\/(\d+)$/.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('expected source/topic/partition/offset');
  }
  const [, source = '', topic = '', partition, offset] = match;
  const position = { source, topic, partition: Number(partition), offset: Number(offset) };
  return [...(before ?? []), position];
}

function sumOf(total: ReplayAnswer, page: ReplayAnswer): ReplayAnswer {
  const sum = { ...page };
  for (const what of Object.keys(total) as (keyof ReplayAnswer)[]) {
    if (what !== 'next') sum[what] += total[what];
  }
  return sum;
}

function rowOf(letter: DeadLetterAnswer): Cell[] {
  const { feature_view, version, source, topic, partition, offset } = letter;
  return [
    `${feature_view}@${version}`,
    `${source}/${topic}/${partition}/${offset}`,
    letter.code,
    shortly(letter.key),
    shortly(letter.value),
    letter.message,
  ];
}

function shortly(bytes: DeadLetterAnswer['key']): string {
  if (bytes === null) return 'null';
  const shown = visible(bytes.text ?? `base64 ${bytes.base64}`);
  return shown.length > VALUE_CHARS ? `${shown.slice(0, VALUE_CHARS - 1)}…` : shown;
}
