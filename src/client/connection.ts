import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';

import { type Response, ResponseReader } from './response-reader.ts';

const SCRATCH_BYTES = 65_536;

/**
 * One connection to a server; requests follow each other on it. The kernel writes a body where it is
 * to be: one of some megabytes in pieces of their own, copied together, takes several times as long
 * to receive.
 */
export class Connection {
  private socket: Socket;
  private scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  private reader: ResponseReader | undefined;
  private waiting: PromiseWithResolvers<Response> | undefined;
  private isOpen = true;

  /**
   * `ca`: who vouches for the server, as PEM. `onClose` is told when no more requests can be
   * sent on it.
   */
  constructor(base: URL, ca: string | undefined, onClose: () => void) {
    const host = base.hostname.replace(/^\[|\]$/g, '');
    const isSecure = base.protocol === 'https:';
    const port = Number(base.port === '' ? (isSecure ? 443 : 80) : base.port);
    if (isSecure) {
      this.socket = connectSecurely({
        host,
        port,
        ...(ca !== undefined && { ca }),
        ...(isIP(host) === 0 && { servername: host }),
      });
      this.socket.on('data', (bytes: Buffer) => this.guarded((reader) => reader.feed(bytes)));
    } else {
      const onread = { buffer: () => this.place(), callback: this.received.bind(this) };
      this.socket = connect({ host, port, onread });
    }
    this.socket.setNoDelay(true);
    this.socket.once('error', (error) => this.fail(error));
    this.socket.once('end', () => this.guarded((reader) => reader.end()));
    this.socket.once('close', () => {
      this.isOpen = false;
      this.fail(new Error('the connection was closed'));
      onClose();
    });
  }

  /** Whether another request can be sent. */
  get isIdle(): boolean {
    return this.isOpen && this.waiting === undefined;
  }

  /** The process need not stay for it while nothing is asked. */
  rest(): void {
    this.socket.unref();
  }

  /** Rejects with what the connection, or the signal, breaks off with. */
  async send(
    head: string,
    body: string | Uint8Array,
    room: (bytes: number) => Buffer<ArrayBuffer>,
    signal: AbortSignal,
  ): Promise<Response> {
    signal.throwIfAborted();
    const waiting = (this.waiting = Promise.withResolvers<Response>());
    this.reader = new ResponseReader(room);
    const abort = (): void => this.fail(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    this.socket.ref();
    if (typeof body === 'string') this.socket.write(head + body);
    else {
      this.socket.cork();
      this.socket.write(head);
      this.socket.write(body);
      this.socket.uncork();
    }
    try {
      return await waiting.promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  close(): void {
    this.isOpen = false;
    this.socket.destroy();
  }

  private place(): Buffer {
    return this.reader?.place() ?? this.scratch;
  }

  /** Bytes have come where `place` said. */
  private received(bytes: number, into: Uint8Array): boolean {
    this.guarded((reader) => {
      if (reader.place() !== undefined && into !== this.scratch) reader.placed(bytes);
      else reader.feed(this.scratch.subarray(0, bytes));
    });
    return true;
  }

  private guarded(read: (reader: ResponseReader) => void): void {
    const { reader, waiting } = this;
    if (reader === undefined || waiting === undefined) {
      // The server ends it, or says what nobody asked: the next answer must not begin with that.
      this.close();
      return;
    }
    try {
      read(reader);
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    if (!reader.isDone) return;
    this.waiting = undefined;
    this.reader = undefined;
    if (!reader.isKept) this.close();
    waiting.resolve(reader.response);
  }

  private fail(error: Error): void {
    const { waiting } = this;
    this.waiting = undefined;
    this.reader = undefined;
    this.close();
    waiting?.reject(error);
  }
}
