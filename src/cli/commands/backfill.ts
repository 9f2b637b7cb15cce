import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { Command, Option } from 'commander';
import type { z } from 'zod';

import type {
  BackfillAnswer,
  backfillBody,
  BackfillPlanAnswer,
} from '../../api/schemas/backfills.ts';
import { type Cli, clientOf, timeOption, wantsJson, withJson, withUrl } from '../cli.ts';
import type { Client } from '../client.ts';
import { ServerRefused, UsageError } from '../failure.ts';
import { readInput } from '../input.ts';
import { bytesText } from '../output.ts';

type Asked = z.input<typeof backfillBody>;
type Columns = Extract<Asked['from'], { kind: 'file' }>['columns'];

interface BackfillOptions {
  fromInputs?: string;
  file?: string;
  format?: 'ndjson' | 'parquet';
  columns?: string;
  source?: string;
  since?: string;
  until?: string;
  entities?: string;
  plan?: boolean;
  wait?: boolean;
}

const POLL_MS = 500;
const COLUMNS = ['entity_id', 'event_timestamp', 'known_timestamp', 'text', 'vector', 'deleted'];
const FIELD = 'fields.';

/** `tidemark backfill`: fills a model version from the history of its sources. */
export function backfillCommand(cli: Cli): Command {
  const command = new Command('backfill')
    .description('Fill a model version from the history of its sources, in the background.')
    .argument('<view@version>', 'the version, such as job@v2')
    .option('--from-inputs <version>', 'from the kept inputs of another version of the view')
    .option('--file <path>', 'from a file on the server’s disk')
    .addOption(new Option('--format <format>', 'what the file is').choices(['ndjson', 'parquet']))
    .option(
      '--columns <pairs>',
      'of the file: what=column, separated by commas; what is entity_id, event_timestamp, known_timestamp, text, vector, deleted, or fields.NAME',
    )
    .option('--source <name>', 'from the topics of a source of the settings')
    .option('--since <time>', 'events from this event time on', timeOption)
    .option('--until <time>', 'events before this event time', timeOption)
    .option('--entities <file>', 'of these entities alone: a file with an id a line')
    .option('--plan', 'say what it would do and how long that would take, and do nothing')
    .option('--wait', 'end when it has ended');
  return withJson(withUrl(command)).action(
    async (name: string, options: BackfillOptions, self: Command) => {
      const client = clientOf(cli, self);
      const asked = askedOf(name, options);
      if (options.plan === true) {
        const plan = await client.planBackfill(asked);
        if (wantsJson(self)) cli.output.printJson(plan);
        else printPlan(cli, plan);
        return;
      }
      const begun = await client.startBackfill(asked);
      if (options.wait !== true) {
        if (wantsJson(self)) cli.output.printJson(begun);
        else cli.output.print(begun.id);
        return;
      }
      const told = await awaitBackfill(cli, client, begun.id);
      if (wantsJson(self)) cli.output.printJson(told);
      else cli.output.print(summaryOf(told));
    },
  );
}

/** Throws UsageError. */
function askedOf(name: string, options: BackfillOptions): Asked {
  const [view, version, ...more] = name.split('@');
  if (!view || !version || more.length > 0) {
    throw new UsageError(`got ${JSON.stringify(name)}, expected view@version, such as job@v2`);
  }
  const { since, until, entities } = options;
  return {
    feature_view: view,
    version,
    from: originOf(options),
    window: {
      ...(since !== undefined && { from: since }),
      ...(until !== undefined && { to: until }),
    },
    ...(entities !== undefined && { entity_ids: readEntities(entities) }),
  };
}

/** Throws UsageError. */
function originOf({ fromInputs, file, source, format, columns }: BackfillOptions): Asked['from'] {
  const named = [fromInputs, file, source].filter((each) => each !== undefined);
  if (named.length !== 1) {
    throw new UsageError('say where from: with one of --from-inputs, --file and --source');
  }
  if (file === undefined && (format !== undefined || columns !== undefined)) {
    throw new UsageError('--format and --columns are about a --file');
  }
  if (fromInputs !== undefined) return { kind: 'inputs', version: fromInputs };
  if (source !== undefined) return { kind: 'source', name: source };
  return {
    kind: 'file',
    path: resolve(file!),
    ...(format !== undefined && { format }),
    columns: columnsOf(columns ?? ''),
  };
}

/** Throws UsageError. */
function columnsOf(pairs: string): Columns {
  const columns: Record<string, string> = {
    entity_id: 'entity_id',
    event_timestamp: 'event_timestamp',
  };
  const fields: Record<string, string> = {};
  for (const pair of pairs.split(',').filter((each) => each !== '')) {
    const at = pair.indexOf('=');
    const [what, column] = [pair.slice(0, at), pair.slice(at + 1)];
    if (at > 0 && what.startsWith(FIELD)) fields[what.slice(FIELD.length)] = column;
    else if (at > 0 && COLUMNS.includes(what)) columns[what] = column;
    else {
      throw new UsageError(
        `--columns has ${JSON.stringify(pair)}, expected what=column, of ${COLUMNS.join(', ')} or ${FIELD}NAME`,
      );
    }
  }
  const said = { ...columns, ...(Object.keys(fields).length > 0 && { fields }) };
  return said as unknown as Columns;
}

/** Throws UsageError. */
function readEntities(file: string): string[] {
  const text = readInput(file, 'an entity id a line', () =>
    readFileSync(file === '-' ? 0 : file, 'utf8'),
  );
  return text.split(/\r?\n/).filter((line) => line !== '');
}

/** Waits, with a bar, until a backfill is done. Throws ServerRefused when it ends otherwise. */
async function awaitBackfill(cli: Cli, client: Client, id: string): Promise<BackfillAnswer> {
  let told = await client.backfill(id);
  const progress = cli.output.startProgress('{read} events, {per_second}/s, {left} s left', 1, {
    read: 0,
    per_second: null,
    left: null,
  });
  try {
    while (told.state === 'queued' || told.state === 'running') {
      const { events, events_per_second, seconds_left } = told;
      progress.update(events.total === null ? 0 : events.read / Math.max(1, events.total), {
        read: events.read,
        per_second: events_per_second && Math.round(events_per_second),
        left: seconds_left && Math.round(seconds_left),
      });
      await cli.sleep(POLL_MS);
      told = await client.backfill(id);
    }
  } finally {
    progress.stop();
  }
  if (told.state === 'done') return told;
  const { code, detail } = told.problem ?? {
    code: 'BACKFILL_CANCELLED',
    detail: 'it was cancelled',
  };
  throw new ServerRefused(422, code, `the backfill ${id} is ${told.state}: ${detail}`, null);
}

/** What became of a backfill, in a line. */
function summaryOf({ feature_view, version, events, inputs }: BackfillAnswer): string {
  const { read, stored, duplicate, erased, rejected, skipped } = events;
  return (
    `${feature_view}@${version}: ${read} events read, ${stored} stored, ${duplicate} duplicate, ` +
    `${erased} erased, ${rejected} rejected, ${skipped} passed by; ` +
    `${inputs.embedded} inputs embedded, ${inputs.shared} shared.`
  );
}

function printPlan(cli: Cli, plan: BackfillPlanAnswer): void {
  cli.output.printTable(
    ['WHAT', 'HOW MUCH'],
    [
      ['events', plan.events],
      ['events wanted', plan.wanted],
      ['distinct inputs', plan.distinct_inputs],
      ['inputs with a vector already', plan.pooled_inputs],
      ['tokens to run', plan.tokens],
      [
        'tokens a second',
        plan.tokens_per_second === null ? '' : Math.round(plan.tokens_per_second),
      ],
      ['device time', `${plan.device_seconds.toFixed(1)} s`],
      ['growth on disk', bytesText(plan.bytes)],
      ['time in all', `${plan.seconds.toFixed(1)} s`],
      ['end, if it began now', plan.ends_timestamp],
    ],
  );
  if (!plan.exact) cli.output.say('The counts are estimates from a sample of the history.');
}
