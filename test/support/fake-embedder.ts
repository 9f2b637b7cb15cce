import type { TidemarkError } from '../../src/ground/errors.ts';
import type { AskOptions, Embedded, Embedder } from '../../src/ingest/inference/embedder.ts';

/** Says what it was asked; a text's vector is its length and its first letter. */
export class FakeEmbedder implements Embedder {
  fingerprint = 'model-1';
  dim = 2;
  asked: string[] = [];
  failure: TidemarkError | undefined;
  /** Of texts that cannot be embedded. */
  failures = new Map<string, TidemarkError>();
  /** While it is set, nothing is answered. */
  held: PromiseWithResolvers<void> | undefined;
  async embed(texts: readonly string[], { signal, onText }: AskOptions): Promise<Embedded> {
    if (this.failure) throw this.failure;
    this.asked.push(...texts);
    const aborted = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => aborted.reject(signal.reason));
    await Promise.race([this.held?.promise, aborted.promise]);
    const vectors = Float32Array.from(texts.flatMap((text) => [text.length, text.charCodeAt(0)]));
    const failures = new Map(
      texts.flatMap((text, at): [number, TidemarkError][] => {
        const failure = this.failures.get(text);
        return failure === undefined ? [] : [[at, failure]];
      }),
    );
    for (const at of texts.keys()) {
      onText?.(at, failures.get(at) ?? vectors.subarray(at * 2, at * 2 + 2));
    }
    return { vectors, failures };
  }
  async close(): Promise<void> {}
}
