import { numbersOf } from '../store/dtype.ts';
import { parseSafetensors, type ParsedTensor } from '../timetravel/formats/safetensors.ts';
import type { REASONS, STATUSES } from '../timetravel/status.ts';

export type Status = (typeof STATUSES)[number];
export type Reason = (typeof REASONS)[number];

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
  dtype: 'float32' | 'float16';
  max_age: string | null;
  pending?: number[];
}

/**
 * One result of a lookup: columns with one row an entity id, in order. All of them are windows on
 * the bytes that came: nothing is copied.
 */
export class LookupResult {
  readonly name: string;
  readonly feature_view: string;
  readonly version: string;
  readonly dim: number;
  readonly dtype: 'float32' | 'float16';
  /** ISO 8601; null for any age. */
  readonly max_age: string | null;
  /** Rows whose entity has a text that waits for its vector. */
  readonly pending: readonly number[];
  readonly rows: number;
  /** [rows × dim], row-major; NaN in rows that are not PRESENT. */
  readonly vectors: Float32Array | Float16Array;
  /** µs since the epoch; −2^63 where there is none. */
  readonly event_timestamps: BigInt64Array;
  private statusCodes: Uint8Array;
  private reasonCodes: Uint8Array;
  private words: { statuses: readonly Status[]; reasons: readonly Reason[] };

  constructor(
    described: Described,
    tensors: Map<string, ParsedTensor>,
    words: { statuses: readonly Status[]; reasons: readonly Reason[] },
  ) {
    const { name, feature_view, version, dim, dtype, max_age, pending = [] } = described;
    this.name = name;
    this.feature_view = feature_view;
    this.version = version;
    this.dim = dim;
    this.dtype = dtype;
    this.max_age = max_age;
    this.pending = pending;
    this.words = words;
    this.statusCodes = bytesOf(tensors, `${name}.status`);
    this.reasonCodes = bytesOf(tensors, `${name}.reason`);
    this.rows = this.statusCodes.length;
    const numbers = bytesOf(tensors, `${name}.vector`);
    this.vectors = numbersOf(numbers, dtype);
    const times = bytesOf(tensors, `${name}.event_timestamp`);
    this.event_timestamps = new BigInt64Array(times.buffer, times.byteOffset, this.rows);
  }

  status(row: number): Status {
    return this.words.statuses[this.statusCodes[row]!]!;
  }

  /** Why there is no vector; null where there is one, or none ever was. */
  reason(row: number): Reason {
    return this.words.reasons[this.reasonCodes[row]!] ?? null;
  }

  /** A window on the row's vector; undefined where it is not PRESENT. */
  vector(row: number): Float32Array | Float16Array | undefined {
    if (this.statusCodes[row] !== 0) return undefined;
    return this.vectors.subarray(row * this.dim, (row + 1) * this.dim);
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
    const words = {
      statuses: JSON.parse(metadata['statuses']!) as Status[],
      reasons: JSON.parse(metadata['reasons']!) as Reason[],
    };
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

function bytesOf(tensors: Map<string, ParsedTensor>, name: string): Uint8Array {
  return tensors.get(name)!.bytes;
}
