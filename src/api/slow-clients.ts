import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { FastifyInstance } from 'fastify';

import type { Admission } from './admission.ts';
import { answerOn, refuseLate } from './failures.ts';
import type { Limits } from './limits.ts';
import type { Cut } from './protection-metrics.ts';

/** Between two looks for bodies that are late. */
const LOOK_MS = 1_000;

/**
 * Cuts off clients that take their answer, or send their request, so slowly that they hold what
 * others need.
 */
export function cutSlowClients(
  server: FastifyInstance,
  limits: Limits,
  admission: Admission,
  noteCut: (why: Cut) => void,
): void {
  const { server: http } = server;
  http.maxConnections = limits.connections;
  http.on('drop', () => noteCut('connections'));
  const bodyMs = limits.body_seconds * 1_000;
  const looking = setInterval(
    () => {
      for (const { socket } of admission.arrivingSince(performance.now() - bodyMs)) {
        if (socket === null) continue;
        noteCut('body');
        refuseLate(socket);
      }
    },
    Math.min(LOOK_MS, bodyMs / 4),
  ).unref();
  server.addHook('onClose', async () => clearInterval(looking));

  // Of a connection on which nothing moves, in neither direction; while something waits to be sent,
  // Node takes what the kernel takes for a move.
  const stalledMs = limits.stalled_seconds * 1_000;
  const streamMs = limits.stalled_stream_seconds * 1_000;
  http.setTimeout(stalledMs, (socket: Socket) => {
    const response = answerOn(socket);
    if (response) {
      // With nothing to send it is the client who waits.
      if (socket.writableLength > 0) cutStalled(socket, response);
    } else if (socket.bytesRead > 0) {
      // Kept alive for long enough. A first request Node waits for as long as for any headers.
      socket.destroy();
    }
  });

  function cutStalled(socket: Socket, response: ServerResponse): void {
    const isWhole = admission.isWhole(response);
    if (!isWhole && socket.timeout! < streamMs) {
      // Node goes back to the other once the next request comes.
      socket.setTimeout(streamMs);
      return;
    }
    noteCut(isWhole ? 'answer' : 'stream');
    socket.destroy();
  }
}
