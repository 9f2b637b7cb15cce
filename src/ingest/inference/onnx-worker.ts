import { workerData } from 'node:worker_threads';

import { Engine, type EngineSettings } from './engine.ts';
import { encodeFailure, type Failure } from './failure.ts';
import { NativeGate } from './native-gate.ts';
import { serveThread } from './thread.ts';
import { type PackedTokens, unpackTokens } from './tokens.ts';

// The thread that runs a model: `session.run` blocks its thread, and that must not be the one that
// answers requests.

/** What the thread is started with. */
export interface WorkerSettings extends EngineSettings {
  /** Tokens that it runs before it says that it is ready. */
  warmUp: PackedTokens;
  /** The memory of a NativeGate. */
  gate: SharedArrayBuffer;
}

/** What became of a batch, as it crosses between threads. */
export interface RanBatch {
  vectors: Float32Array<ArrayBuffer>;
  failures: [row: number, failure: Failure][];
  seconds: number;
}

await serveThread<PackedTokens, RanBatch>(async () => {
  const { gate, warmUp, ...settings } = workerData as WorkerSettings;
  const engine = await Engine.open(settings, unpackTokens(warmUp), new NativeGate(gate));
  return {
    async serve(batch) {
      const start = performance.now();
      const { vectors, failures } = await engine.run(unpackTokens(batch));
      const value: RanBatch = {
        vectors,
        failures: [...failures].map(([row, failure]) => [row, encodeFailure(failure)]),
        seconds: (performance.now() - start) / 1_000,
      };
      return { value, moved: [vectors.buffer] };
    },
    close: () => engine.close(),
  };
});
