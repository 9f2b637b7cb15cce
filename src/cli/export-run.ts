import type { ExportAnswer } from '../api/schemas/exports.ts';
import type { Cli } from './cli.ts';
import type { Client } from './client.ts';
import { downloadExport } from './download.ts';
import { ServerRefused, UsageError } from './failure.ts';
import { bytesText } from './output.ts';

const POLL_MS = 500;

/** Waits, with a bar, until an export is done. Throws ServerRefused when it ends otherwise. */
export async function awaitExport(cli: Cli, client: Client, id: string): Promise<ExportAnswer> {
  let told = await client.export(id);
  const progress = cli.output.startProgress('{rows} rows, {per_second} rows/s, {left} s left', 1, {
    rows: 0,
    per_second: null,
    left: null,
  });
  try {
    while (told.state === 'queued' || told.state === 'running') {
      const { rows, rows_total, rows_per_second, seconds_left } = told;
      progress.update(rows_total === null ? 0 : rows / Math.max(1, rows_total), {
        rows,
        per_second: roundedOf(rows_per_second),
        left: roundedOf(seconds_left),
      });
      await cli.sleep(POLL_MS);
      told = await client.export(id);
    }
  } finally {
    progress.stop();
  }
  if (told.state === 'done') return told;
  if (told.problem !== null) {
    throw new ServerRefused(
      422,
      told.problem.code,
      `the export ${id} failed: ${told.problem.detail}`,
      null,
    );
  }
  throw new UsageError(`the export ${id} is ${told.state}: there is nothing to fetch`);
}

/** Fetches the files of an export that is done into a directory, with a bar. */
export async function fetchExport(
  cli: Cli,
  client: Client,
  told: ExportAnswer,
  directory: string,
): Promise<void> {
  const of = told.bytes;
  const progress = cli.output.startProgress('{bytes} of {of} bytes', of, { bytes: 0, of });
  try {
    await downloadExport(client, told.id, directory, cli.sleep, (bytes) =>
      progress.update(bytes, { bytes, of }),
    );
  } finally {
    progress.stop();
  }
}

/** What was fetched, in a line. */
export function sayFetched(cli: Cli, told: ExportAnswer, directory: string): void {
  const { rows, files, bytes, snapshot, feature_views, invalid = [], notes = [] } = told;
  cli.output.print(
    `${directory}: ${rows} rows in ${files} files, ${bytesText(bytes)}, snapshot ${snapshot}; verified.`,
  );
  for (const [name, { statuses }] of Object.entries(feature_views)) {
    const count = statuses['INVALID'] ?? 0;
    if (count === 0) continue;
    const first = invalid.find(({ feature_view }) => feature_view === name);
    const example = first === undefined ? '' : `, such as ${first.row}: ${first.reason}`;
    cli.output.say(`${count} of ${rows} rows are INVALID for ${name}${example}`);
  }
  for (const note of notes) cli.output.say(note);
}

function roundedOf(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}
