import { parentPort, workerData } from 'node:worker_threads';

import { assert } from '../../ground/assert.ts';
import { TidemarkError } from '../../ground/errors.ts';
import { Engine, type EngineSettings } from './engine.ts';
import { encodeFailure, type Failure } from './failure.ts';
import { NativeGate } from './native-gate.ts';

// The thread that runs a model: `session.run` blocks its thread, and that must not be the one that
// answers requests. It serves one message after another; those that come early wait in the port.

/** What the worker is started with. */
export interface WorkerSettings extends EngineSettings {
  /** The memory of a NativeGate. */
  gate: SharedArrayBuffer;
}

/** What the worker is asked: texts to embed, or (null) to finish and end. */
export type Ask = { id: number; texts: readonly string[] } | null;

/** What the worker answers: once that it is ready or cannot be, then one answer for each ask. */
export type Answer =
  | { kind: 'ready' }
  | { kind: 'unfit'; failure: Failure }
  | { kind: 'vectors'; id: number; vectors: Float32Array<ArrayBuffer> }
  | { kind: 'failed'; id: number; failure: Failure };

assert(parentPort !== null, 'this file is the start of a worker thread');
const port = parentPort;
const answer = (message: Answer, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

/** Embeds, and answers. What is not a TidemarkError escapes and ends the thread: see WorkerLife. */
async function serve(engine: Engine, id: number, texts: readonly string[]): Promise<void> {
  try {
    const vectors = await engine.embed(texts);
    answer({ kind: 'vectors', id, vectors }, [vectors.buffer]);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    answer({ kind: 'failed', id, failure: encodeFailure(error) });
  }
}

async function start(): Promise<void> {
  const { gate, ...settings } = workerData as WorkerSettings;
  const engine = await Engine.open(settings, new NativeGate(gate));
  answer({ kind: 'ready' });
  let work = Promise.resolve();
  port.on('message', (ask: Ask) => {
    work = take(engine, ask, work);
  });
}

async function take(engine: Engine, ask: Ask, before: Promise<void>): Promise<void> {
  await before;
  if (ask !== null) return serve(engine, ask.id, ask.texts);
  await engine.close();
  port.close();
}

try {
  await start();
} catch (error) {
  if (!(error instanceof TidemarkError)) throw error;
  answer({ kind: 'unfit', failure: encodeFailure(error) });
}
