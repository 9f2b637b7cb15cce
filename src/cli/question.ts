import { type Command, InvalidArgumentError, Option } from 'commander';

import { parseDuration } from '../ground/duration.ts';
import { BOUNDARIES, type Boundary, KNOWLEDGE, type Knowledge } from '../timetravel/question.ts';
import { countOption, timeOption } from './cli.ts';

/** What those options say. */
export interface QuestionOptions {
  asOf?: string;
  boundary?: Boundary;
  knowledge?: Knowledge;
  knownAt?: string;
  maxAge?: string;
  version?: string;
  atSnapshot?: number;
}

/** What of a question commands pass on, with the names of the REST interface. */
interface AskedQuestion {
  as_of?: string;
  boundary?: Boundary;
  knowledge?: Knowledge;
  known_at?: string;
  max_age?: string;
  at_snapshot?: number;
}

/** `--as-of` of a command that asks of one moment. */
export function withAsOf(command: Command): Command {
  return command.option(
    '--as-of <time>',
    'the moment that is asked, RFC 3339; default: the latest',
    timeOption,
  );
}

/** The options of a command that asks a question about time, its moments aside. */
export function withQuestion(command: Command): Command {
  return withBounds(command).option(
    '--version <version>',
    "the model version; default: the view's current one",
  );
}

/** The same of a command whose views say their versions themselves. */
export function withBounds(command: Command): Command {
  return command
    .addOption(
      new Option('--boundary <how>', 'whether a revision at exactly the moment counts').choices(
        BOUNDARIES,
      ),
    )
    .addOption(
      new Option('--knowledge <which>', 'what counts besides the event time').choices(KNOWLEDGE),
    )
    .option('--known-at <time>', 'only what was known by then', timeOption)
    .option('--max-age <duration>', 'how old an answer may be, as P30D, or none', ageOption)
    .option('--at-snapshot <seq>', 'the state of the store at a snapshot', countOption(0));
}

/** What was said of the question, the version aside, and nothing of what was not. */
export function questionOf(options: QuestionOptions): AskedQuestion {
  const { asOf, boundary, knowledge, knownAt, maxAge, atSnapshot } = options;
  return {
    ...(asOf !== undefined && { as_of: asOf }),
    ...(boundary !== undefined && { boundary }),
    ...(knowledge !== undefined && { knowledge }),
    ...(knownAt !== undefined && { known_at: knownAt }),
    ...(maxAge !== undefined && { max_age: maxAge }),
    ...(atSnapshot !== undefined && { at_snapshot: atSnapshot }),
  };
}

function ageOption(text: string): string {
  try {
    if (text !== 'none') parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
  return text;
}
