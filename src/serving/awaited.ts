import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { parseCursor } from '../api/cursor.ts';
import type { ReadOnlyStore } from '../store/read-only-store.ts';
import { EVERY_PATH } from './to-writer.ts';

/** So long a snapshot is waited for that another process has named. */
const WAIT_MS = 5_000;
/** And so long the files, which a writer that was started again is opening. */
const FILES_MS = 30_000;

/** Where questions name snapshots. */
interface Named {
  at_snapshot?: number;
  min_snapshot?: number;
  cursor?: string;
}

/**
 * Has requests wait for the snapshots that they name, and for the files to be open. What can be
 * answered at once is not held up by a turn. To be called before there are routes.
 */
export function waitForSnapshots(server: FastifyInstance, store: ReadOnlyStore): void {
  function wait(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
    const reached = store.reached(namedBy(request), waitOf(request, store.isOpen));
    if (reached === undefined) done();
    else void goOnAfter(reached, done);
  }
  server.addHook('onRoute', (route) => {
    if (route.config?.vital === true || route.url === EVERY_PATH) return;
    // The last before the handler, which waits for nothing.
    route.preHandler = [...[route.preHandler ?? []].flat(), wait];
  });
}

/** Whether it was reached or not: the handler says so. */
async function goOnAfter(reached: Promise<void>, done: () => void): Promise<void> {
  await reached;
  done();
}

function namedBy({ body, query }: FastifyRequest): number {
  const { at_snapshot: at = 0, min_snapshot: least = 0, cursor } = (body ?? query) as Named;
  return Math.max(at, least, cursor === undefined ? 0 : snapshotOf(cursor));
}

function snapshotOf(cursor: string): number {
  try {
    return parseCursor(cursor).snapshot;
  } catch {
    return 0;
  }
}

function waitOf({ deadline }: FastifyRequest, isOpen: boolean): number {
  const ms = isOpen ? WAIT_MS : FILES_MS;
  return deadline === undefined ? ms : Math.max(0, Math.min(ms, deadline - performance.now()));
}
