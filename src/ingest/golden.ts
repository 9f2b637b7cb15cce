import { TidemarkError } from '../ground/errors.ts';
import { formatInstant, micros } from '../ground/time.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { Golden, MadeBy } from '../store/golden.ts';
import { nameOf } from '../store/versions.ts';
import type { AskOptions, Embedder } from './inference/embedder.ts';

/** Short and long, several scripts, numbers and signs: what a tokenizer may come to read otherwise. */
const TEXTS = [
  'Night nurse in Bern',
  'Senior data engineer (m/f/d): TypeScript, PostgreSQL, C++; from $1,850/week.',
  'Développeuse logiciel à Montréal, télétravail possible',
  '機械学習エンジニア、東京',
  'водитель грузовика категории C',
  `Team lead of a ward of ${'nurses, doctors and carers, '.repeat(12)}by day and by night.`,
  'x',
  '🙂 café naïve résumé',
];

/** How a model stands to what it was. */
export interface GoldenState {
  /** The least cosine between a golden text's vector of now and of then. */
  cosine: number;
  /** Why its versions take no texts; undefined where they do. */
  drift?: string;
}

export interface GoldenSettings {
  /** What is stored of a model version; undefined where nothing is. */
  stored(view: string, version: ModelVersion): Golden | undefined;
  /** Durable on return. */
  store(view: string, version: ModelVersion, golden: Golden): void;
  /** What runs a model now, and the least cosine that passes for the same. */
  model(name: string): { madeBy: MadeBy; leastCosine: number };
  /** µs */
  clock(): number;
  onCosine(model: string, cosine: number): void;
}

/**
 * Finds out whether a model makes the vectors that it made when a version was first used: the files
 * may be the same, and the library, the provider or the machine another. Once for each version and
 * start of its model.
 */
export class GoldenCheck {
  readonly #settings: GoldenSettings;
  readonly #checks = new WeakMap<Embedder, Map<string, Promise<void>>>();
  /** By model, then version. */
  readonly #states = new Map<string, Map<string, GoldenState>>();

  constructor(settings: GoldenSettings) {
    this.#settings = settings;
  }

  /**
   * Takes the vectors of the golden texts where the version has none, else compares.
   * Throws MODEL_DRIFTED, and what the embedder throws.
   */
  async check(view: string, version: ModelVersion, embedder: Embedder): Promise<void> {
    let checks = this.#checks.get(embedder);
    if (checks === undefined) this.#checks.set(embedder, (checks = new Map()));
    const key = `${view}@${version.version} ${version.created_timestamp}`;
    let check = checks.get(key);
    if (check === undefined) {
      check = this.#check(view, version, embedder);
      checks.set(key, check);
    }
    try {
      await check;
    } catch (error) {
      // What kept the model from running may be over; what it has become is not.
      if (!isDrift(error) && checks.get(key) === check) checks.delete(key);
      throw error;
    }
  }

  /**
   * Of a model: the version that is furthest from what it was. Undefined where none was compared.
   * `isThere`: whether the version of that name (`nameOf`) was not retired since.
   */
  stateOf(model: string, isThere: (name: string) => boolean = () => true): GoldenState | undefined {
    const states = [...(this.#states.get(model) ?? [])].filter(([name]) => isThere(name));
    return states.map(([, state]) => state).toSorted((a, b) => a.cosine - b.cosine)[0];
  }

  async #check(view: string, version: ModelVersion, embedder: Embedder): Promise<void> {
    const model = version.model!.name;
    const { madeBy, leastCosine } = this.#settings.model(model);
    const before = this.#settings.stored(view, version);
    const texts = before?.texts ?? TEXTS;
    const vectors = await vectorsOf(embedder, texts);
    const name = nameOf(view, version.version);
    if (before === undefined) {
      // Another one may have had its name.
      this.#states.get(model)?.delete(name);
      this.#settings.store(view, version, {
        version_created: version.created_timestamp,
        texts: [...texts],
        vectors: new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength),
        made_by: madeBy,
        made: this.#settings.clock(),
      });
      return;
    }
    const cosine = leastCosineOf(before, vectors, embedder.dim);
    const drift =
      cosine >= leastCosine ? undefined : driftOf(name, model, cosine, leastCosine, before, madeBy);
    const states = this.#states.get(model) ?? new Map<string, GoldenState>();
    this.#states.set(model, states);
    states.set(name, { cosine, ...(drift !== undefined && { drift }) });
    this.#settings.onCosine(model, this.stateOf(model)!.cosine);
    if (drift !== undefined) throw new TidemarkError('MODEL_DRIFTED', drift);
  }
}

function isDrift(error: unknown): boolean {
  return error instanceof TidemarkError && error.code === 'MODEL_DRIFTED';
}

/** Each by itself, so that as little as can be is due to the batch that a text ran in. */
async function vectorsOf(embedder: Embedder, texts: readonly string[]): Promise<Float32Array> {
  const options: AskOptions = { lane: 'nearline' };
  const all = new Float32Array(texts.length * embedder.dim);
  for (const [at, text] of texts.entries()) {
    const { vectors, failures } = await embedder.embed([text], options);
    for (const failure of failures.values()) throw failure;
    all.set(vectors, at * embedder.dim);
  }
  return all;
}

function leastCosineOf({ vectors }: Golden, now: Float32Array, dim: number): number {
  // Of its own, since the bytes of a database lie where they like.
  const then = new Float32Array(new Uint8Array(vectors).buffer);
  if (then.length !== now.length) return 0;
  let least = 1;
  for (let start = 0; start < now.length; start += dim) {
    let [dot, a, b] = [0, 0, 0];
    for (let i = start; i < start + dim; i++) {
      dot += then[i]! * now[i]!;
      a += then[i]! * then[i]!;
      b += now[i]! * now[i]!;
    }
    least = Math.min(least, dot / Math.sqrt(a * b));
  }
  return least;
}

function driftOf(
  name: string,
  model: string,
  cosine: number,
  leastCosine: number,
  { made_by: then, made }: Golden,
  now: MadeBy,
): string {
  return (
    `the model ${model} does not make the vectors that it made for ${name}: the least cosine of the golden texts is ` +
    `${cosine.toFixed(6)}, expected ${leastCosine} or more. Then (${formatInstant(micros(made))}): ${wordsOf(then)}; now: ${wordsOf(now)}. ` +
    'Nothing is embedded for this version: run it as it ran then, or add a new model version'
  );
}

function wordsOf({ provider, device, runtime }: MadeBy): string {
  return `${runtime} on ${provider} (${device})`;
}
