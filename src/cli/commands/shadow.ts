import { Command } from 'commander';

import { type Cli, clientOf, wantsJson, withJson, withUrl } from '../cli.ts';

/** `tidemark shadow`: what lookups have said of a view's candidate. */
export function shadowCommand(cli: Cli): Command {
  const command = new Command('shadow')
    .description('Compare the candidate with the current version, by a sample of lookups.')
    .argument('<view>', 'the feature view');
  return withJson(withUrl(command)).action(async (view: string, _options, self: Command) => {
    const found = await clientOf(cli, self).shadow(view);
    if (wantsJson(self)) return cli.output.printJson(found);
    const { current, candidate, sample, process, lookups, dropped, since } = found;
    if (candidate === null) {
      return cli.output.print(`${view} has no candidate: ${current} is its current version.`);
    }
    if (sample === 0) {
      return cli.output.print('Lookups ask no candidate: the setting shadow.sample is 0.');
    }
    const by = process === null ? '' : ` that ${process} answered`;
    cli.output.print(
      `${view}@${candidate} beside ${view}@${current}, by ${lookups} of the lookups${by} since ${since}:`,
    );
    const { ids, present, covered, coverage, cosine, neighbour_overlap: overlap } = found;
    cli.output.printTable(
      ['WHAT', 'VALUE', ''],
      [
        ['coverage', shown(coverage), `${covered} of ${present} vectors, of ${ids} ids`],
        ['cosine', shown(cosine?.mean), cosine ? `1 of 20 is below ${shown(cosine.p5)}` : ''],
        [
          'neighbour overlap',
          shown(overlap?.mean),
          overlap
            ? `of ${overlap.lookups} lookups; by chance alone ${shown(overlap.by_chance)}`
            : '',
        ],
        ['dropped', dropped, 'lookups that could not be asked again in time'],
      ],
    );
  });
}

function shown(value: number | null | undefined): string {
  return value?.toFixed(4) ?? '';
}
