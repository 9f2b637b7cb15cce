import { clearLine, cursorTo } from 'node:readline';
import { styleText } from 'node:util';

import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';

/** What the CLI writes to: the process's own streams, or a test's. */
export type OutputStream = NodeJS.WritableStream & { isTTY?: boolean };

type Style = Parameters<typeof styleText>[0];

/** What stands in a table. Numbers stand to the right. */
export type Cell = string | number | { text: string; style: Style };

type Counts = Record<string, number | null>;

/** A bar on a terminal, nothing elsewhere: progress is for people. */
export interface Progress {
  update(value: number, counts: Counts): void;
  stop(): void;
}

/**
 * The one place of the CLI that writes. Answers go to stdout, what is said about them to stderr,
 * so that a script can take the one without the other.
 */
export class Output {
  private out: OutputStream;
  private err: OutputStream;
  private barIsShown = false;

  constructor(out: OutputStream, err: OutputStream) {
    this.out = out;
    this.err = err;
  }

  /** One JSON document on one line. */
  printJson(document: unknown): void {
    this.out.write(`${JSON.stringify(document)}\n`);
  }

  print(text = ''): void {
    this.out.write(`${text}\n`);
  }

  /** A line for the reader, beside the answer. */
  say(text: string): void {
    if (this.barIsShown) {
      clearLine(this.err, 0);
      cursorTo(this.err, 0);
    }
    this.err.write(`${text.split('\n').map(visible).join('\n')}\n`);
  }

  /** The text in a style, where stdout is a terminal. */
  style(style: Style, text: string): string {
    const isShown = this.out.isTTY === true && process.env.NO_COLOR === undefined;
    return isShown ? styleText(style, text, { validateStream: false }) : text;
  }

  /** Rows under their heads, in columns that spaces part, so that they can be cut and pasted. */
  printTable(heads: readonly string[], rows: readonly (readonly Cell[])[]): void {
    const table = new Table({
      head: heads.map((head) => this.style('bold', head)),
      chars: NO_BORDERS,
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
      colAligns: heads.map((_, column) =>
        rows.some((row) => typeof row[column] === 'number') ? 'right' : 'left',
      ),
    });
    for (const row of rows) table.push(row.map((cell) => this.show(cell)));
    const lines = table.toString().split('\n');
    this.print(lines.map((line) => line.trimEnd()).join('\n'));
  }

  /**
   * Shows how far something is, as `what` says with the names of `counts` in braces. `total`
   * undefined: the end is not known, and only the counts are shown.
   */
  startProgress(what: string, total: number | undefined, counts: Counts): Progress {
    if (this.err.isTTY !== true) return { update: () => {}, stop: () => {} };
    const bar = new SingleBar(
      {
        stream: this.err,
        format: total === undefined ? what : `{bar} {percentage} %  ${what}`,
        clearOnComplete: true,
        hideCursor: true,
      },
      Presets.shades_classic,
    );
    bar.start(total ?? 0, 0, counts);
    this.barIsShown = true;
    return {
      update: (value, newCounts) => bar.update(value, newCounts),
      stop: () => {
        bar.stop();
        this.barIsShown = false;
      },
    };
  }

  private show(cell: Cell): string {
    if (typeof cell === 'object') return this.style(cell.style, visible(cell.text));
    return visible(String(cell));
  }
}

const BORDERS =
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid middle';
const NO_BORDERS = Object.fromEntries(BORDERS.split(' ').map((name) => [name, '']));

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** A size for people, in powers of a thousand. */
export function bytesText(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1_000 && unit < BYTE_UNITS.length - 1) {
    size /= 1_000;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 1 : 0)} ${BYTE_UNITS[unit]}`;
}

// What comes from a store may hold anything; a terminal must not take it for commands.
const CONTROLS = /\p{Cc}/gu;

/** The text with its control characters written out. */
export function visible(text: string): string {
  return text.replace(
    CONTROLS,
    (control) => `\\u${control.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}
