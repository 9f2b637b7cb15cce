/**
 * A process that looks up all the time, over several connections: `node flip-reader.ts <url>`. A
 * line on its standard input ends it; then it prints what it was answered.
 */
import { once } from 'node:events';

import { Connection } from './processes.ts';

/** What a reader was answered. */
export interface Answered {
  requests: number;
  /** `snapshot version`, each once: at which snapshots which version answered. */
  seen: string[];
  /** Whatever an answer may not be. */
  wrong: string[];
}

const CONNECTIONS = 4;
/** Two lookups of one request that name no version: both are to be of the same one. */
const BODY = {
  lookups: ['a', 'b'].map((name) => ({
    name,
    feature_view: 'job',
    entity_ids: Array.from({ length: 25 }, (_, at) => `${name}${at}`),
  })),
};

interface Result {
  version: string;
  statuses: string[];
  vectors: number[][];
}

const answered: Answered = { requests: 0, seen: [], wrong: [] };
const seen = new Set<string>();
const over = new AbortController();

function look(snapshot: number, results: readonly Result[]): void {
  const [version] = results.map((each) => each.version);
  seen.add(`${snapshot} ${version}`);
  for (const { version: other, statuses, vectors } of results) {
    const isWhole =
      other === version &&
      statuses.every((status) => status === 'PRESENT') &&
      vectors.every(([first]) => `v${first}` === version);
    if (!isWhole) answered.wrong.push(JSON.stringify({ snapshot, results }).slice(0, 2_000));
  }
}

async function read(connection: Connection): Promise<void> {
  while (!over.signal.aborted) {
    const { status, body } = await connection.send('POST', '/v1/lookup', BODY);
    answered.requests++;
    if (status === 200) look(body['snapshot'] as number, body['results'] as Result[]);
    else answered.wrong.push(JSON.stringify({ status, body }));
  }
  connection.close();
}

const [url] = process.argv.slice(2);
const reading = Array.from({ length: CONNECTIONS }, async () => read(new Connection(url!)));
await once(process.stdin, 'data');
over.abort();
await Promise.all(reading);
process.stdout.write(JSON.stringify({ ...answered, seen: [...seen] }));
process.stdin.destroy();
