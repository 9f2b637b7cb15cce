import { workerData } from 'node:worker_threads';

import type { Manifest } from './manifest.ts';
import { NativeGate } from './native-gate.ts';
import { serveThread } from './thread.ts';
import { openTokenizer } from './tokenizer.ts';
import { buffersOf, type PackedTokens, packTokens } from './tokens.ts';

// The thread that turns texts into tokens, while another one runs those that came before.

/** What the thread is started with. */
export interface TokenizerSettings {
  folder: string;
  manifest: Manifest;
  /** The memory of a NativeGate. */
  gate: SharedArrayBuffer;
}

await serveThread<readonly string[], PackedTokens>(async () => {
  const { folder, manifest, gate: memory } = workerData as TokenizerSettings;
  const gate = new NativeGate(memory);
  const tokenizer = await gate.pass(async () => openTokenizer(folder, manifest));
  return {
    async serve(texts) {
      const value = packTokens(await gate.pass(() => tokenizer.encode([...texts])));
      return { value, moved: buffersOf(value) };
    },
    async close() {},
  };
});
