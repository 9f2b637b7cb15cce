import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import type { FastifyInstance } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import type { Limits } from './limits.ts';
import type { Cut } from './protection-metrics.ts';

/** Who has just connected asks by then, and is told that the server stops. */
const FIRST_REQUEST_MS = 100;

/** How a server ends: announced, then refusing, then without those that do not come to an end. */
export class Stopping {
  /** `/readyz` says so, and connections are closed after their answers; all is still answered. */
  isAnnounced = false;
  /** Open ones. */
  readonly connections = new Set<Socket>();
  private isClosing = false;
  private limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /** Resolves when load balancers have had their time to send elsewhere. */
  async announce(): Promise<void> {
    this.isAnnounced = true;
    await sleep(this.limits.drain_seconds * 1_000);
  }

  addTo(server: FastifyInstance, noteCut: (why: Cut) => void): void {
    const { connections } = this;
    const { server: http } = server;
    http.on('connection', (socket: Socket) => {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
    });
    server.addHook('preClose', async () => {
      this.isClosing = true;
      // Node takes one on which nothing was ever asked for one that is about to, and would wait.
      setTimeout(() => {
        for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
      }, FIRST_REQUEST_MS);
      const cutting = setTimeout(() => {
        for (const socket of connections) {
          noteCut('stop');
          socket.destroy();
        }
      }, this.limits.stop_seconds * 1_000);
      http.once('close', () => clearTimeout(cutting));
    });
    server.addHook('onRequest', (_request, _reply, done) => {
      done(this.isClosing ? stopped() : undefined);
    });
    // A connection that was busy when the server began to close is idle after its answer, and would
    // be waited for as long as it is kept alive.
    server.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.isAnnounced || this.isClosing) void reply.header('connection', 'close');
      done();
    });
    server.addHook('onResponse', (_request, _reply, done) => {
      if (this.isClosing) setImmediate(() => http.closeIdleConnections());
      done();
    });
  }
}

function stopped(): TidemarkError {
  return new TidemarkError('SHUTTING_DOWN', 'the server is stopping; ask another');
}
