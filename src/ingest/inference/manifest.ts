import { createHash } from 'node:crypto';

import { z } from 'zod';

/** The file that makes a folder a model. */
export const MANIFEST_FILE = 'tidemark-model.json';

/** Names of models are folder names and parts of commands, so they are plain. */
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

// No separators and no leading dot: a manifest cannot reach outside its folder.
const fileName = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/, 'expected a plain file name');
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hex digits');
const tensorName = z.string().min(1);

const huggingFaceTokenizer = z.strictObject({
  kind: z.literal('huggingface'),
  /** The tokenizer.json; its own truncation and padding are ignored. */
  file: fileName,
  /** The id that fills short rows. */
  pad_id: z.int().min(0),
});

const hashingTokenizer = z.strictObject({
  kind: z.literal('hashing'),
  /** How text becomes features, and features numbers: see hashing-tokenizer.ts. */
  scheme: z.literal('words-ngrams-fnv1a32-256ths'),
  /** Rows of the projection table; a power of two. */
  buckets: z.int().refine((n) => n > 0 && (n & (n - 1)) === 0, 'expected a power of two'),
  /** Lengths of the character n-grams, in code points, boundaries of words included. */
  ngram_min: z.int().min(1),
  ngram_max: z.int().max(16),
  word_weight: z.number().min(0),
  ngram_weight: z.number().min(0),
});

const manifestSchema = z
  .strictObject({
    format: z.literal(1),
    name: z.string().regex(MODEL_NAME, 'expected lower-case letters, digits, ".", "_" and "-"'),
    description: z.string(),
    licence: z.string(),
    source: z.string(),
    /** The ONNX file. */
    graph: fileName,
    tokenizer: z.discriminatedUnion('kind', [huggingFaceTokenizer, hashingTokenizer]),
    /** Longer inputs are cut to this many tokens, special ones included. */
    max_tokens: z.int().min(1),
    /** `none`: the graph pools by itself and puts out `[rows, dim]`. */
    pooling: z.enum(['none', 'mean', 'cls', 'last']),
    /** Whether each pooled vector is divided by its length. */
    normalise: z.boolean(),
    dim: z.int().min(1).max(8_192),
    /** Fewer numbers of which the first ones are still a vector, once brought to length 1. */
    matryoshka: z.array(z.int().min(1)).optional(),
    /**
     * The least cosine between the vectors of a text at two times that passes for no change; 8-bit
     * weights with activations scaled by the batch have a text depend a little on its company.
     */
    golden_cosine: z.number().min(0).max(1).optional(),
    /** The graph's names of the `[rows, tokens]` tensors that it is fed. */
    inputs: z.strictObject({
      ids: tensorName,
      mask: tensorName.optional(),
      types: tensorName.optional(),
      positions: tensorName.optional(),
      weights: tensorName.optional(),
    }),
    /** The graph's name of the tensor that is read: float32 or float16, pooled or per token. */
    output: tensorName,
    /** SHA-256 of the graph, the tokenizer file, and whatever else the graph loads: its external data. */
    sha256: z.record(fileName, sha256),
  })
  .superRefine((manifest, context) => {
    const { graph, tokenizer } = manifest;
    for (const file of tokenizer.kind === 'huggingface' ? [graph, tokenizer.file] : [graph]) {
      if (!Object.hasOwn(manifest.sha256, file)) {
        context.addIssue({ code: 'custom', path: ['sha256'], message: `expected one for ${file}` });
      }
    }
    if (manifest.matryoshka?.some((dim) => dim >= manifest.dim)) {
      context.addIssue({
        code: 'custom',
        path: ['matryoshka'],
        message: `expected dims below ${manifest.dim}`,
      });
    }
    if (tokenizer.kind === 'hashing' && manifest.inputs.weights === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['inputs', 'weights'],
        message: 'expected a name: a hashing tokenizer gives each id a weight',
      });
    }
    if (tokenizer.kind === 'hashing' && tokenizer.ngram_max < tokenizer.ngram_min) {
      context.addIssue({
        code: 'custom',
        path: ['tokenizer', 'ngram_max'],
        message: 'expected ngram_min or more',
      });
    }
  });

/** What a model is made of and how its vectors are made. */
export type Manifest = z.infer<typeof manifestSchema>;
export type HashingTokenizerConfig = z.infer<typeof hashingTokenizer>;

/** A manifest from the text of its file, or what is wrong with it in words. */
export function parseManifest(text: string): { manifest: Manifest } | { problem: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { problem: `it is not JSON (${error instanceof Error ? error.message : 'unreadable'})` };
  }
  const result = manifestSchema.safeParse(json);
  if (result.success) return { manifest: result.data };
  const issues = result.error.issues.map(
    (issue) => `${issue.path.join('.') || 'the manifest'}: ${issue.message}`,
  );
  return { problem: issues.join('; ') };
}

/** What fills the rows of a batch that are shorter than its longest. */
export function padIdOf({ tokenizer }: Manifest): number {
  return tokenizer.kind === 'huggingface' ? tokenizer.pad_id : 0;
}

export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/**
 * SHA-256, in hex, over everything that makes the vectors and nothing else: a model under another
 * name, with its files renamed, or with other dims to cut it to, is the same model.
 */
export function fingerprintOf(manifest: Manifest): string {
  const { format, tokenizer, max_tokens, pooling, normalise, dim, inputs, output } = manifest;
  const makes = {
    format,
    graph: manifest.sha256[manifest.graph],
    tokenizer:
      tokenizer.kind === 'huggingface'
        ? { ...tokenizer, file: manifest.sha256[tokenizer.file] }
        : tokenizer,
    files: Object.values(manifest.sha256).toSorted(),
    max_tokens,
    pooling,
    normalise,
    dim,
    inputs,
    output,
  };
  return createHash('sha256').update(canonicalJson(makes)).digest('hex');
}

// The order of keys in a file is chance, so they are sorted.
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
