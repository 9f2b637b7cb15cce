import { parentPort } from 'node:worker_threads';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { encodeFailure, type Failure } from './failure.ts';

// The inside of a worker thread that serves one ask after another; the outside is WorkerLife. Asks
// that come early wait in the port, so the next one is there when one is done.

/** What a thread is asked, or (null) to finish and end. */
export type Ask<A> = { id: number; ask: A } | null;

/** What it answers: once that it is ready or cannot be, then one answer for each ask. */
export type Answer<V> =
  | { kind: 'ready' }
  | { kind: 'unfit'; failure: Failure }
  | { kind: 'value'; id: number; value: V }
  | { kind: 'failed'; id: number; failure: Failure };

/** What a thread does. What it throws that is no TidemarkError ends the thread: see WorkerLife. */
export interface Service<A, V> {
  /** The buffers in `moved` are given away. */
  serve(ask: A): Promise<{ value: V; moved: ArrayBuffer[] }>;
  close(): Promise<void>;
}

export async function serveThread<A, V>(open: () => Promise<Service<A, V>>): Promise<void> {
  assert(parentPort !== null, 'this is the start of a worker thread');
  const port = parentPort;
  const answer = (message: Answer<V>, moved: ArrayBuffer[] = []): void =>
    port.postMessage(message, moved);

  const take = async (service: Service<A, V>, ask: Ask<A>, before: Promise<void>) => {
    await before;
    if (ask === null) {
      await service.close();
      port.close();
      return;
    }
    const { id } = ask;
    try {
      const { value, moved } = await service.serve(ask.ask);
      answer({ kind: 'value', id, value }, moved);
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      answer({ kind: 'failed', id, failure: encodeFailure(error) });
    }
  };

  try {
    const service = await open();
    answer({ kind: 'ready' });
    let work = Promise.resolve();
    port.on('message', (ask: Ask<A>) => {
      work = take(service, ask, work);
    });
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    answer({ kind: 'unfit', failure: encodeFailure(error) });
  }
}
