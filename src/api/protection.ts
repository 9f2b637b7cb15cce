import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

import { Admission } from './admission.ts';
import type { Limits } from './limits.ts';
import { addProtection, type Cut } from './protection-metrics.ts';
import { cutSlowClients } from './slow-clients.ts';
import { Stopping } from './stopping.ts';
import { WaitingLine } from './waiting-line.ts';

/** Between two words of the log about the same. */
const LOOK_MS = 10_000;

/**
 * Keeps a server answering: it refuses what it cannot do in time, drops what nobody waits for, cuts
 * off who takes too long, and ends in order. To be called before there are routes.
 */
export function protect(server: FastifyInstance, limits: Limits, registry: Registry): void {
  const { nodeTiming } = performance;
  const line = new WaitingLine(limits.max_wait_ms, {
    now: () => performance.now(),
    idle: () => nodeTiming.idleTime,
  });
  const stopping = new Stopping(limits);
  let late = 0;
  const admission = new Admission(limits, line, (why) => {
    if (why === 'wait') late++;
    metrics.refused(why);
  });
  const metrics = addProtection(registry, {
    underWay: () => admission.underWay,
    waiting: () => line.length,
    unsentBytes: () => admission.unsentBytes,
    connections: () => stopping.connections.size,
  });
  const noteCut = (why: Cut): void => metrics.cut(why);
  server.decorate('stopping', stopping);
  stopping.addTo(server, noteCut);
  admission.addTo(server);
  cutSlowClients(server, limits, admission, noteCut);

  let told = 0;
  const looking = setInterval(() => {
    if (late > told) {
      server.log.warn({ refused: late - told }, 'behind: requests have waited for too long');
    }
    told = late;
  }, LOOK_MS).unref();
  server.addHook('onClose', async () => clearInterval(looking));
}
