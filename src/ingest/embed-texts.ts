import { TidemarkError } from '../ground/errors.ts';
import type { Embedder } from './inference/embedder.ts';
import { normOf, scaleTo } from './inference/pooling.ts';
import { normaliseText } from './model-input.ts';

/** A model, and what its vectors can be cut to. */
export interface CuttableModel {
  name: string;
  embedder: Embedder;
  matryoshka: readonly number[];
}

export interface TextVectors {
  /** Row after row, of dim each. */
  vectors: Float32Array;
  dim: number;
  /** That the model read. */
  tokens: number;
}

/**
 * The vectors of texts for a caller who waits for them, of texts normalised as those of entities
 * are. All or none: throws what is wrong with the first text that has none, BAD_REQUEST for a dim
 * that the model does not have, and what the embedder throws.
 */
export async function embedTexts(
  { name, embedder, matryoshka }: CuttableModel,
  texts: readonly string[],
  dimensions: number | undefined,
  charsMax: number,
  signal: AbortSignal,
): Promise<TextVectors> {
  const dims = [...matryoshka, embedder.dim];
  const dim = dimensions ?? embedder.dim;
  if (!dims.includes(dim)) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `dimensions: got ${dim}, expected ${dims.join(' or ')}: the model ${name} is not trained for other ones`,
    );
  }
  const inputs = texts.map((text, at) => attempt(at, () => normaliseText(text, charsMax)));
  const embedded = await embedder.embed(inputs, { lane: 'rest', signal });
  const [failed] = [...embedded.failures.keys()].toSorted((a, b) => a - b);
  if (failed !== undefined) throw ofInput(failed, embedded.failures.get(failed)!);
  const { vectors, tokens = 0 } = embedded;
  if (dim === embedder.dim) return { vectors, dim, tokens };
  return { vectors: cut(vectors, embedder.dim, dim), dim, tokens };
}

/** The first `to` numbers of each row, brought to length 1. */
function cut(vectors: Float32Array, from: number, to: number): Float32Array {
  const rows = vectors.length / from;
  const kept = new Float32Array(rows * to);
  for (let row = 0; row < rows; row++) {
    const vector = kept.subarray(row * to, (row + 1) * to);
    vector.set(vectors.subarray(row * from, row * from + to));
    const norm = normOf(vector);
    if (norm === 0) {
      const why = `nothing is left of the vector when it is cut to ${to} numbers`;
      throw ofInput(row, new TidemarkError('BAD_VECTOR', why));
    }
    scaleTo(vector, norm);
  }
  return kept;
}

function attempt<T>(index: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw error instanceof TidemarkError ? ofInput(index, error) : error;
  }
}

function ofInput(index: number, { code, message }: TidemarkError): TidemarkError {
  return new TidemarkError(code, `input[${index}]: ${message}`);
}
