import { type Dtype, type Numbers, numbersOf } from '../store/dtype.ts';
import { parseSafetensors, type ParsedTensor } from '../timetravel/formats/safetensors.ts';
import { PRESENT } from '../timetravel/status.ts';
import { Rows, type Words, wordsOf } from './rows.ts';

/** What the server echoes of the question: times as RFC 3339, null for no bound. */
export interface QuestionEcho {
  as_of: string | null;
  boundary: 'inclusive' | 'exclusive';
  knowledge: 'event' | 'input' | 'served';
  known_at: string | null;
  now: string | null;
}

interface Described {
  name: string;
  feature_view: string;
  version: string;
  dim: number;
  dtype: Dtype;
  max_age: string | null;
  pending?: number[];
}

/** One result of a lookup. Nothing is copied. */
export class LookupResult extends Rows {
  readonly name: string;
  readonly feature_view: string;
  readonly version: string;
  readonly dim: number;
  readonly dtype: Dtype;
  /** ISO 8601; null for any age. */
  readonly max_age: string | null;
  /** Rows whose entity has a text that waits for its vector. */
  readonly pending: readonly number[];
  /** [rows × dim], row-major; NaN, of int8 0, in rows that are not PRESENT. */
  readonly vectors: Numbers;
  /** Of int8, one a row: what the numbers of its vector are times; 0 in rows that are not PRESENT. */
  readonly scales: Float32Array | undefined;

  constructor(described: Described, tensors: Map<string, ParsedTensor>, words: Words) {
    const { name, feature_view, version, dim, dtype, max_age, pending = [] } = described;
    super(tensors, `${name}.`, words);
    this.name = name;
    this.feature_view = feature_view;
    this.version = version;
    this.dim = dim;
    this.dtype = dtype;
    this.max_age = max_age;
    this.pending = pending;
    this.vectors = numbersOf(tensors.get(`${name}.vector`)!.bytes, dtype);
    const scales = tensors.get(`${name}.scale`)?.bytes;
    this.scales = scales && new Float32Array(scales.buffer, scales.byteOffset, this.rows);
  }

  /** A window on the row's vector; undefined where it is not PRESENT. */
  vector(row: number): Numbers | undefined {
    if (this.statusCodes[row] !== PRESENT) return undefined;
    return this.vectors.subarray(row * this.dim, (row + 1) * this.dim);
  }

  /** What the row's numbers are times; undefined where it is not PRESENT, or its dtype has none. */
  scale(row: number): number | undefined {
    return this.statusCodes[row] === PRESENT ? this.scales?.[row] : undefined;
  }
}

/**
 * The answer to a lookup. Its memory is used for later answers once it is disposed of (`using`, or
 * `answer[Symbol.dispose]()`); who keeps vectors for longer copies them, or does not dispose.
 */
export class LookupAnswer {
  readonly snapshot: number;
  readonly question: QuestionEcho;
  readonly results: readonly LookupResult[];
  private release: () => void;

  /** `release`: hears when the memory of `body` is not read any more. */
  constructor(body: Uint8Array, release: () => void) {
    const { metadata, tensors } = parseSafetensors(body);
    const words = wordsOf(metadata);
    this.snapshot = Number(metadata['snapshot']);
    this.question = JSON.parse(metadata['question']!) as QuestionEcho;
    const described = JSON.parse(metadata['results']!) as Described[];
    this.results = described.map((each) => new LookupResult(each, tensors, words));
    this.release = release;
  }

  /** The result of that name, which is the view's unless another was asked for. */
  result(name: string): LookupResult {
    const found = this.results.find((each) => each.name === name);
    if (found === undefined) throw new RangeError(`the answer has no result ${name}`);
    return found;
  }

  [Symbol.dispose](): void {
    const { release } = this;
    this.release = () => {};
    release();
  }
}
