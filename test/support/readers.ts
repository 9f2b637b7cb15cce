import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import type { Answered, Pace } from './flip-reader.ts';

const PROGRAM = join(import.meta.dirname, 'flip-reader.ts');

/** A process that looks up all the time. */
export interface Reader {
  /** Ends it; what it was answered. */
  stop: () => Promise<Answered>;
  kill: () => void;
}

/**
 * Resolves when it has its first answer. Of each of the lookups all entities are to have a vector, in
 * every version that is current.
 */
export async function startReader(
  url: string,
  pace: Pace,
  lookups: readonly object[],
): Promise<Reader> {
  const args = [PROGRAM, url, JSON.stringify(pace), JSON.stringify(lookups)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return {
    stop: async () => {
      const said = text(child.stdout);
      const exit = once(child, 'exit');
      child.stdin.write('over\n');
      await exit;
      return JSON.parse(await said) as Answered;
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

/** What a view's history says of a moment. */
export interface Flip {
  seq: number;
  aliases: { current: string };
}

/** Answers of another version than the one that was current at their snapshot. */
export function strayAnswers({ answers }: Answered, history: readonly Flip[]): string[] {
  const stray = answers.filter(([, , snapshot, version]) => {
    return history.findLast(({ seq }) => seq <= snapshot)?.aliases.current !== version;
  });
  return [...new Set(stray.map(([, , snapshot, version]) => `${snapshot} ${version}`))];
}

/** Who asks a server. */
interface Asker {
  ask<T>(method: string, path: string, body?: object): Promise<T>;
}

/** Rows of answers that are not what their version itself says of that entity at that moment. */
export async function foreignRows(
  server: Asker,
  view: string,
  rows: readonly string[],
): Promise<string[]> {
  const foreign: string[] = [];
  for (const row of rows) {
    const [version, id, as_of, sum] = row.split(' ');
    const lookups = [{ feature_view: view, version, entity_ids: [id] }];
    const { results } = await server.ask<{ results: [{ vectors: [number[] | null] }] }>(
      'POST',
      '/v1/lookup',
      { lookups, as_of },
    );
    const expected = results[0].vectors[0]?.reduce((total, number) => total + number, 0);
    if (String(expected) !== sum) foreign.push(`${row}, expected ${expected}`);
  }
  return foreign;
}
