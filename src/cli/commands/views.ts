import { Command } from 'commander';

import type { FeatureViewAnswer } from '../../api/schemas/views.ts';
import { type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';
import { bytesText, type Cell } from '../output.ts';

/** `tidemark views`: what feature views there are, with their model versions. */
export function viewsCommand(cli: Cli): Command {
  const command = new Command('views').description(
    'List the feature views and their model versions.',
  );
  return withJson(withUrl(command)).action(async (_options, self: Command) => {
    const views = await clientOf(cli, self).views();
    if (wantsJson(self)) {
      cli.output.printJson({ feature_views: views });
    } else if (views.length === 0) {
      cli.output.print('There are no feature views yet; PUT /v1/feature-views/{view} makes one.');
    } else {
      cli.output.printTable(HEADS, views.flatMap(rowsOf));
    }
  });
}

const HEADS = [
  'VIEW',
  'ENTITY',
  'JOIN KEY',
  'VERSION',
  'DIM',
  'DTYPE',
  'MODEL',
  'MAX AGE',
  'RETENTION',
  'HORIZON',
  'ENTITIES',
  'REVISIONS',
  'VECTORS',
  'BYTES',
  'KEPT TEXTS',
  'HEALTH',
];

/** One for each model version, with its alias; a star marks the one that answers where none is named. */
function rowsOf({
  feature_view,
  entity,
  join_key,
  max_age,
  retention,
  horizon,
  aliases,
  versions,
}: FeatureViewAnswer): Cell[][] {
  return Object.entries(versions).map(([name, version]) => [
    feature_view,
    entity,
    join_key,
    named(name, aliases),
    version.dim,
    version.dtype,
    version.model?.name ?? '',
    max_age ?? '',
    retention ?? '',
    horizon ?? '',
    version.entities,
    version.revisions,
    version.vectors,
    bytesText(version.file_bytes),
    version.model?.keep_inputs === true ? bytesText(version.kept_input_bytes) : '',
    healthText(version.health),
  ]);
}

/** What is off, where something is; `--json` has the numbers. */
function healthText(health: FeatureViewAnswer['versions'][string]['health']): string {
  if (health === null) return '';
  return health.ok ? 'ok' : health.off.join(', ');
}

function named(version: string, { current, ...others }: FeatureViewAnswer['aliases']): string {
  if (version === current) return `${version} *`;
  const [alias] = Object.entries(others).find(([, name]) => name === version) ?? [];
  return alias === undefined ? version : `${version} (${alias})`;
}
