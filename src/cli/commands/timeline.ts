import { Command } from 'commander';

import type { TimelineAnswer } from '../../api/schemas/timeline.ts';
import {
  answered,
  type Cli,
  clientOf,
  countOption,
  timeOption,
  wantsJson,
  withJson,
  withUrl,
} from '../cli.ts';
import type { Client, TimelineRequest } from '../client.ts';
import type { Cell, Output } from '../output.ts';

interface TimelineOptions {
  from?: string;
  to?: string;
  limit: number;
  version?: string;
}

const LIMIT = 100;
/** Revisions of one request. */
const PAGE = 100;

/** `tidemark timeline`: every revision of an entity. */
export function timelineCommand(cli: Cli): Command {
  const command = new Command('timeline')
    .description('Show the revisions of an entity, the newest first.')
    .argument('<view>', 'the feature view')
    .argument('<id>', 'the id of the entity')
    .option('--from <time>', 'from this event time on', timeOption)
    .option('--to <time>', 'up to this event time', timeOption)
    .option('--limit <count>', 'revisions to show at most', countOption(1), LIMIT)
    .option('--version <version>', "the model version; default: the view's current one");
  return withJson(withUrl(command)).action(
    async (view: string, id: string, options: TimelineOptions, self: Command) => {
      const { limit, ...bounds } = options;
      const request = {
        feature_view: view,
        entity_id: id,
        ...(bounds.version !== undefined && { version: bounds.version }),
        ...(bounds.from !== undefined && { from: bounds.from }),
        ...(bounds.to !== undefined && { to: bounds.to }),
      };
      const timeline = await readTimeline(clientOf(cli, self), request, limit);
      if (wantsJson(self)) cli.output.printJson(timeline);
      else printTimeline(cli.output, timeline);
      cli.exitCode = answered(timeline.revisions.length > 0);
    },
  );
}

/** Page after page until there are `limit` revisions or no more. */
async function readTimeline(
  client: Client,
  request: TimelineRequest,
  limit: number,
): Promise<TimelineAnswer> {
  const timeline = await client.timeline({ ...request, limit: Math.min(limit, PAGE) });
  const { revisions } = timeline;
  while (timeline.next !== null && revisions.length < limit) {
    const page = await client.timeline({
      ...request,
      cursor: timeline.next,
      limit: Math.min(limit - revisions.length, PAGE),
    });
    revisions.push(...page.revisions);
    timeline.next = page.next;
  }
  return timeline;
}

function printTimeline(output: Output, timeline: TimelineAnswer): void {
  const { feature_view, version, entity_id, snapshot, reason, revisions, next } = timeline;
  output.print(`${entity_id} in ${feature_view}@${version}, snapshot ${snapshot}`);
  if (reason !== null) {
    output.print('The entity was erased: it has no history.');
    return;
  }
  output.print();
  const rows = revisions.map((revision): Cell[] => [
    revision.event_timestamp,
    revision.known_timestamp,
    revision.created_timestamp,
    revision.seq,
    revision.vector_id ?? 'deleted',
  ]);
  output.printTable(['EVENT TIME', 'KNOWN', 'CREATED', 'SEQ', 'VECTOR'], rows);
  if (next !== null)
    output.say('There are more: raise --limit, or narrow it with --from and --to.');
}
