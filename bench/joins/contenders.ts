import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { runPython } from '../../test/python.ts';
import { Peer } from '../harness/peer.ts';
import type { JoinData } from './data.ts';
import type { Contender, JoinAnswer } from './rounds.ts';
import type { ExportOptions, Server } from './server.ts';
import { THREADS } from './threads.ts';

const CHECKER = join(import.meta.dirname, 'check.py');
const PEERS = join(import.meta.dirname, 'peers.py');

/** Tidemark's job. */
export function tidemark(
  name: string,
  server: Server,
  { spine, python }: Pick<JoinData, 'spine' | 'python'>,
  options: ExportOptions = {},
): Contender {
  return {
    name,
    pid: server.pid,
    async run() {
      const run = await server.export(spine, options);
      const { seconds, bytes, parts, shards } = run;
      return {
        seconds,
        bytes,
        answer: async () => answerOf(python, parts, shards, options.order !== 'entity'),
        clear: async () => server.remove(run),
      };
    },
  };
}

/** An engine of peers.py that writes one file. */
export interface Engine extends Contender {
  close(): Promise<void>;
}

export function engine(
  name: string,
  engineName: string,
  data: JoinData,
  isInOrder: boolean,
): Engine {
  const { python, history, spine } = data;
  const peer = new Peer(python, [PEERS, engineName, `${THREADS}`, history, spine], {
    // Where Polars has it from.
    POLARS_MAX_THREADS: `${THREADS}`,
  });
  return peerContender(name, peer, data, isInOrder);
}

/** A peer that writes one file. */
export function peerContender(
  name: string,
  peer: Peer,
  { python, folder }: JoinData,
  isInOrder: boolean,
): Engine {
  const out = join(folder, 'answer.parquet');
  return {
    name,
    pid: peer.pid,
    async run() {
      const { seconds } = await peer.run(out);
      return {
        seconds,
        bytes: (await stat(out)).size,
        answer: async () => answerOf(python, [out], [], isInOrder),
        clear: async () => rm(out),
      };
    },
    close: async () => peer.close(),
  };
}

/** Throws where rows are to be in the order of the spine and are not. */
async function answerOf(
  python: string,
  parts: readonly string[],
  tables: readonly string[],
  isInOrder: boolean,
): Promise<JoinAnswer> {
  const said = await runPython(python, [CHECKER, 'answer', ...parts, '--', ...tables]);
  const answer = JSON.parse(said) as JoinAnswer;
  if (isInOrder && !answer.in_order) throw new Error(`not in the spine’s order: ${parts[0]}`);
  return answer;
}

/** The answer that bisection gives. */
export async function naiveAnswer({ python, spine, history }: JoinData): Promise<JoinAnswer> {
  return JSON.parse(await runPython(python, [CHECKER, 'naive', spine, history])) as JoinAnswer;
}
