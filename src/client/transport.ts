import { Connection } from './connection.ts';
import type { Response } from './response-reader.ts';

export interface Sent {
  path: string;
  headers: Record<string, string>;
  body: string | Uint8Array;
  signal: AbortSignal;
  /** Memory for a body of so many bytes. */
  room: (bytes: number) => Buffer<ArrayBuffer>;
}

/** Requests to one server over connections that are kept. */
export class Transport {
  private base: URL;
  private connectionsMax: number;
  private ca: string | undefined;
  private isClosed = false;
  /** Those that may be used, the last one used at the end. */
  private idle: Connection[] = [];
  private open = new Set<Connection>();
  /** Who waits for a connection. */
  private queue: (() => void)[] = [];

  constructor(url: string, connectionsMax: number, ca?: string) {
    this.base = new URL(url);
    this.connectionsMax = connectionsMax;
    this.ca = ca;
  }

  /** Rejects with what the connection, or the signal, breaks off with. */
  async post({ path, headers, body, signal, room }: Sent): Promise<Response> {
    signal.throwIfAborted();
    const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
    let head = `POST ${this.base.pathname.replace(/\/$/, '')}${path} HTTP/1.1\r\nhost: ${this.base.host}\r\n`;
    for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
    head += `content-length: ${bytes}\r\n\r\n`;
    const connection = await this.connection(signal);
    try {
      return await connection.send(head, body, room, signal);
    } finally {
      if (connection.isIdle) {
        connection.rest();
        this.idle.push(connection);
      }
      this.queue.shift()?.();
    }
  }

  /** Ends the connections, and what is under way on them; there are no others after them. */
  close(): void {
    this.isClosed = true;
    for (const give of this.queue.splice(0)) give();
    for (const connection of this.open) connection.close();
  }

  private async connection(signal: AbortSignal): Promise<Connection> {
    for (;;) {
      if (this.isClosed) throw new Error('the client was closed');
      const kept = this.idle.pop();
      if (kept?.isIdle === true) return kept;
      if (kept !== undefined) continue;
      if (this.open.size < this.connectionsMax) return this.connect();
      // oxlint-disable-next-line no-await-in-loop
      await this.turn(signal);
    }
  }

  private connect(): Connection {
    const connection: Connection = new Connection(this.base, this.ca, () => {
      this.open.delete(connection);
      this.idle = this.idle.filter((each) => each !== connection);
      this.queue.shift()?.();
    });
    this.open.add(connection);
    return connection;
  }

  private async turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const give = (): void => resolve();
    const giveUp = (): void => {
      this.queue = this.queue.filter((each) => each !== give);
      reject(signal.reason as Error);
    };
    this.queue.push(give);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }
}
