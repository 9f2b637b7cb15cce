/**
 * A process that looks up all the time: `node flip-reader.ts <url> <pace> <lookups>`, both in JSON. It
 * prints a line with its first answer. A line on its standard input ends it; then it prints what it
 * was answered. See startReader.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { Connection, type Told } from './processes.ts';

/** One answer: when it was asked for, ms since the epoch, and when it was there. */
export type Answer = [asked: number, answered: number, snapshot: number, version: string];

/** How much it asks. */
export interface Pace {
  connections: number;
  /** Before the next lookup of a connection. */
  restMs: number;
}

/** What a reader was answered. */
export interface Answered {
  /** In the order in which they came. */
  answers: Answer[];
  /** `version entity event-time sum-of-the-vector`, each once. */
  rows: string[];
  /** Whatever an answer may not be: of two versions, without a vector, or none. */
  wrong: string[];
}

interface Result {
  version: string;
  statuses: string[];
  event_timestamps: string[];
  vectors: number[][];
}

const [url, pace, asked] = process.argv.slice(2) as [string, string, string];
const { connections, restMs } = JSON.parse(pace) as Pace;
const lookups = JSON.parse(asked) as { entity_ids: string[] }[];
const answered: Answered = { answers: [], rows: [], wrong: [] };
const rows = new Set<string>();
const over = new AbortController();

/** The version that all of it is of. */
function look(results: readonly Result[]): string {
  const [version] = results.map((each) => each.version);
  for (const [at, result] of results.entries()) {
    const isWhole =
      result.version === version && result.statuses.every((status) => status === 'PRESENT');
    if (!isWhole) answered.wrong.push(JSON.stringify(results).slice(0, 2_000));
    else {
      for (const [row, id] of lookups[at]!.entity_ids.entries()) {
        const sum = result.vectors[row]!.reduce((total, number) => total + number, 0);
        rows.add(`${version} ${id} ${result.event_timestamps[row]} ${sum}`);
      }
    }
  }
  return version!;
}

/** Of the machine's clock, and finer than its milliseconds. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

async function read(connection: Connection): Promise<void> {
  while (!over.signal.aborted) {
    const began = now();
    const { status, body } = await connection
      .send('POST', '/v1/lookup', { lookups })
      .catch((error: unknown) => ({ status: 0, body: { error: String(error) } as Told['body'] }));
    const ended = now();
    if (answered.answers.length + answered.wrong.length === 0) process.stdout.write('\n');
    if (status === 200) {
      const version = look(body['results'] as Result[]);
      answered.answers.push([began, ended, body['snapshot'] as number, version]);
    } else answered.wrong.push(JSON.stringify({ status, body }));
    if (restMs > 0) await sleep(restMs);
  }
  connection.close();
}

const reading = Array.from({ length: connections }, async () => read(new Connection(url)));
await once(process.stdin, 'data');
over.abort();
await Promise.all(reading);
process.stdout.write(JSON.stringify({ ...answered, rows: [...rows] } satisfies Answered));
process.stdin.destroy();
