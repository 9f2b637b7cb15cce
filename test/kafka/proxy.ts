import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between clients and a port, and can fall silent without hanging up. */
export class Proxy {
  private server: Server;
  private sockets = new Set<Socket>();
  private target = 0;

  private constructor() {
    this.server = createServer((client) => this.join(client));
  }

  static async listen(): Promise<Proxy> {
    const proxy = new Proxy();
    await once(proxy.server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('expected a port');
    return address.port;
  }

  /** The port that connections are passed on to. */
  passTo(port: number): void {
    this.target = port;
  }

  /** Passes nothing on any more for those connected now; who comes later is served. */
  freeze(): void {
    for (const socket of this.sockets) socket.pause().unpipe();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await once(this.server.close(), 'close');
  }

  private join(client: Socket): void {
    const broker = connect(this.target, '127.0.0.1');
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
    }
  }
}
