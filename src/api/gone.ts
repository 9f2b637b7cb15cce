import type { FastifyReply } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import { deadlineExceeded } from './deadline.ts';

/**
 * Aborted when nobody waits for the answer any more: when the connection closes before it is sent,
 * and when the time is over that the request's headers give for it.
 */
export function goneSignal({ raw, request }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const { deadline } = request;
  const timer =
    deadline === undefined
      ? undefined
      : setTimeout(
          () => gone.abort(deadlineExceeded('while it was worked on')),
          Math.max(0, deadline - performance.now()),
        );
  const onClose = (): void => {
    clearTimeout(timer);
    if (raw.writableFinished) return;
    gone.abort(new TidemarkError('BAD_REQUEST', 'the caller left before the answer'));
  };
  if (raw.closed) onClose();
  else raw.once('close', onClose);
  return gone.signal;
}
