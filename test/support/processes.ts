import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { json } from 'node:stream/consumers';

/** The processes that a server of several consists of, beside its first. */
export interface Processes {
  writer: number[];
  workers: number[];
}

/** Those whose parent is this process, by what they run. */
export function processesOf(pid: number): Processes {
  const found: Processes = { writer: [], workers: [] };
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parent !== pid) continue;
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      if (command.includes('serving/writer')) found.writer.push(Number(name));
      if (command.includes('serving/worker')) found.workers.push(Number(name));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

export interface Told {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Record<string, unknown>;
}

/** One connection, kept: all that is asked over it is answered by one process while that lives. */
export class Connection {
  private url: string;
  private agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.url = url;
  }

  /** Rejects where the connection breaks. */
  async send(method: string, path: string, sentBody?: unknown): Promise<Told> {
    const { promise, resolve, reject } = Promise.withResolvers<Told>();
    const headers = sentBody === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request(this.url + path, { method, agent: this.agent, headers }, (answer) => {
      const { statusCode = 0, headers: told } = answer;
      const read = json(answer) as Promise<Told['body']>;
      resolve(read.then((body) => ({ status: statusCode, headers: told, body })));
    });
    sent.on('error', reject);
    sent.end(sentBody === undefined ? undefined : JSON.stringify(sentBody));
    return promise;
  }

  close(): void {
    this.agent.destroy();
  }
}
