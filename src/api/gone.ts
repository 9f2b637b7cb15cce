import type { FastifyReply } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';

/** Aborted when the connection closes before the answer is sent: nobody waits for it any more. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const onClose = (): void => {
    if (raw.writableFinished) return;
    gone.abort(new TidemarkError('BAD_REQUEST', 'the caller left before the answer'));
  };
  if (raw.closed) onClose();
  else raw.once('close', onClose);
  return gone.signal;
}
