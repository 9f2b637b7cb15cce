import type { Answer } from '../../test/support/flip-reader.ts';
import { percentile } from '../harness/statistics.ts';

/** Some time, in ms since the epoch. */
export interface Span {
  what: string;
  from: number;
  to: number;
}

/** A promotion or a rollback as it was asked for. Times in ms since the epoch. */
export interface AskedFlip {
  what: string;
  /** Which it has answer. */
  version: string;
  asked: number;
  answered: number;
  /** When the next one may have been asked for. */
  over: number;
}

/** When a request was begun, and when it was answered. */
type Timed = readonly [began: number, ended: number, ...rest: unknown[]];

const AROUND_MS = 1_000;

/** How long requests took that were begun in those times. */
export function spansTable(what: string, timed: readonly Timed[], spans: readonly Span[]): string {
  const rows = spans.map(({ what: when, from, to }) => {
    const begun = timed.filter(([began]) => began >= from && began < to);
    const took = Float64Array.from(begun, ([began, ended]) => ended - began).toSorted();
    const times = [percentile(took, 0.5), percentile(took, 0.99), took.at(-1)];
    const shown = times.map((time) => (time === undefined ? '' : `${time.toFixed(1)} ms`));
    return [when, String(took.length), ...shown];
  });
  return table([what, 'number', 'p50', 'p99', 'most'], rows);
}

/** The second around each flip, as readers saw it. */
export function secondsAround(answers: readonly Answer[], flips: readonly AskedFlip[]): Span[] {
  return flips.map((flip) => {
    const middle = seenOf(answers, flip).firstNew;
    const what = `in the second around: ${flip.what}`;
    return { what, from: middle - AROUND_MS / 2, to: middle + AROUND_MS / 2 };
  });
}

/**
 * How long promotions and rollbacks took: who asked for them, and who looked up. `noted`: when the
 * history says that each was.
 */
export function flipsTable(
  answers: readonly Answer[],
  flips: readonly AskedFlip[],
  noted: readonly number[],
): string {
  const rows = flips.map((flip, at) => {
    const { firstNew, lastOld } = seenOf(answers, flip);
    const afterAsked = [flip.answered, lastOld, firstNew].map((time) => time - flip.asked);
    const times = [...afterAsked, lastOld - noted[at]!];
    return [flip.what, ...times.map((time) => `${time.toFixed(1)} ms`)];
  });
  return table(
    [
      'from the command to',
      'its answer',
      'the last lookup of the old',
      'the first of the new',
      'and from the gates to the last of the old',
    ],
    rows,
  );
}

/** When the first answer of the new version came, and the last one of the old. */
function seenOf(
  answers: readonly Answer[],
  { version, asked, over }: AskedFlip,
): { firstNew: number; lastOld: number } {
  let [firstNew, lastOld] = [over, asked];
  for (const [, ended, , of] of answers) {
    if (ended < asked || ended >= over) continue;
    if (of === version) firstNew = Math.min(firstNew, ended);
    else lastOld = Math.max(lastOld, ended);
  }
  return { firstNew, lastOld };
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, heads.map(() => '---'), ...rows];
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}
