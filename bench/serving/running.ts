import { join } from 'node:path';

import { coresText, pinLoad, serverCores } from '../harness/cores.ts';
import { type DataSet, makeStore } from '../harness/data-set.ts';
import { withFolder } from '../harness/folder.ts';
import { type Options, serverArgs } from '../harness/options.ts';
import { turnsText } from '../harness/rows.ts';
import { Server } from '../harness/server.ts';

/** A server on its core, warm or not, with a data set; this process is on the other core. */
export interface Running {
  folder: string;
  server: Server;
  /** Its data directory. */
  data: string;
}

/** Makes the data, starts the server, and ends it after the work if that has not. */
export async function withServer(
  dataSet: DataSet,
  options: Options,
  work: (running: Running) => Promise<void>,
): Promise<void> {
  pinLoad();
  await withFolder(async (folder) => {
    const data = join(folder, 'data');
    await makeStore(data, dataSet);
    const server = await startPinned(folder, data, options);
    await work({ folder, server, data });
    await server.close();
  });
}

export async function startPinned(folder: string, data: string, options: Options): Promise<Server> {
  const cores = serverCores(options.workers);
  // It is kept busy on purpose, and the peers refuse nobody either.
  const settings = { limits: { max_wait_ms: 0 } };
  return Server.start({ folder, data, settings, cores, args: serverArgs(options) });
}

/** Of a page: with what settings the server that `startPinned` starts answers. */
export function servedText({ workers }: Options): string {
  const having = workers === 0 ? '' : `, and has ${workers} serving workers`;
  return `Tidemark refuses nobody for having to wait (\`limits.max_wait_ms: 0\`)${having}.`;
}

/** The last paragraph of a page. */
export function servingText(rounds: number, turn: string, options: Options): string {
  const said = [servedText(options), turnsText(rounds, turn), coresText(options.workers)];
  return `${said.join(' ')} CPU time is that of a request, on either side: where both are at work all the time, the one who needs more of it is the bottleneck.`;
}
