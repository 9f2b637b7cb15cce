import type { Encoded } from './backend.ts';

/** One text as a model reads it: token ids, and a weight for each where the model wants them. */
export interface Tokens {
  readonly ids: ArrayLike<number>;
  readonly weights?: ArrayLike<number>;
  /** The text has more than `max_tokens`. */
  readonly isTruncated: boolean;
}

/** The same as it waits for its run: pieces of what came from another thread. */
export interface TokenizedText extends Encoded {
  readonly ids: Int32Array;
  readonly weights?: Float32Array;
}

/** The tokens of some texts in one piece, which crosses between threads without a copy. */
export interface PackedTokens {
  /** One text after another. */
  ids: Int32Array<ArrayBuffer>;
  weights?: Float32Array<ArrayBuffer>;
  /** By text: where its tokens end. */
  ends: Int32Array<ArrayBuffer>;
  /** By text: 1 where it was truncated. */
  truncated: Uint8Array<ArrayBuffer>;
}

export function packTokens(texts: readonly Tokens[]): PackedTokens {
  const size = texts.reduce((sum, { ids }) => sum + ids.length, 0);
  const ids = new Int32Array(size);
  const weights = texts.some((text) => text.weights) ? new Float32Array(size) : undefined;
  const ends = new Int32Array(texts.length);
  const truncated = new Uint8Array(texts.length);
  let end = 0;
  for (const [at, text] of texts.entries()) {
    ids.set(text.ids, end);
    if (text.weights) weights?.set(text.weights, end);
    end += text.ids.length;
    ends[at] = end;
    truncated[at] = text.isTruncated ? 1 : 0;
  }
  return { ids, ends, truncated, ...(weights && { weights }) };
}

/** The tokens of each text, as pieces of the whole. */
export function unpackTokens({ ids, weights, ends, truncated }: PackedTokens): TokenizedText[] {
  return Array.from(ends, (end, at) => {
    const start = ends[at - 1] ?? 0;
    return {
      tokens: end - start,
      isTruncated: truncated[at] === 1,
      ids: ids.subarray(start, end),
      ...(weights && { weights: weights.subarray(start, end) }),
    };
  });
}

/** The buffers of packed tokens, which whoever sends them gives away. */
export function buffersOf({ ids, weights, ends, truncated }: PackedTokens): ArrayBuffer[] {
  return [ids.buffer, ends.buffer, truncated.buffer, ...(weights ? [weights.buffer] : [])];
}
