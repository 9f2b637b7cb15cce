import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

/** What a server has answered. */
export interface Response {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer<ArrayBuffer>;
}

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
  private agent: Agent;
  private base: URL;

  constructor(url: string, connectionsMax: number) {
    this.base = new URL(url);
    this.agent = new Agent({ keepAlive: true, maxSockets: connectionsMax, scheduling: 'lifo' });
  }

  /** Rejects with what the connection, or the signal, breaks off with. */
  async post({ path, headers, body, signal, room }: Sent): Promise<Response> {
    const answered = Promise.withResolvers<Response>();
    const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
    const asked = request({
      agent: this.agent,
      method: 'POST',
      protocol: this.base.protocol,
      hostname: this.base.hostname,
      port: this.base.port,
      path: `${this.base.pathname.replace(/\/$/, '')}${path}`,
      headers: { ...headers, 'content-length': bytes },
      signal,
    });
    asked.once('response', (message) => {
      receive(message, room).then(answered.resolve, answered.reject);
    });
    asked.once('error', answered.reject);
    asked.end(body);
    return answered.promise;
  }

  close(): void {
    this.agent.destroy();
  }
}

async function receive(message: IncomingMessage, room: Sent['room']): Promise<Response> {
  const { statusCode: status = 0, headers } = message;
  const length = Number(headers['content-length']);
  if (!Number.isSafeInteger(length)) {
    const chunks: Buffer[] = await message.toArray();
    return { status, headers, body: Buffer.concat(chunks) };
  }
  const body = room(length);
  let at = 0;
  const whole = Promise.withResolvers<void>();
  message.on('data', (chunk: Buffer) => {
    at += chunk.copy(body, at);
  });
  message.once('end', () => whole.resolve());
  message.once('error', whole.reject);
  await whole.promise;
  return { status, headers, body };
}
