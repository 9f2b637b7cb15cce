import type { ParsedTensor } from '../timetravel/formats/safetensors.ts';
import type { REASONS, STATUSES } from '../timetravel/status.ts';

export type Status = (typeof STATUSES)[number];
export type Reason = (typeof REASONS)[number];

/** What the codes of an answer stand for. */
export interface Words {
  statuses: readonly Status[];
  reasons: readonly Reason[];
}

export function wordsOf(metadata: Record<string, string>): Words {
  return {
    statuses: JSON.parse(metadata['statuses']!) as Status[],
    reasons: JSON.parse(metadata['reasons']!) as Reason[],
  };
}

/** Rows of an answer, one an entity id, in order: windows on the bytes that came. */
export class Rows {
  readonly rows: number;
  /** µs since the epoch; −2^63 where there is none. */
  readonly event_timestamps: BigInt64Array;
  protected statusCodes: Uint8Array;
  private reasonCodes: Uint8Array;
  private words: Words;

  /** `prefix`: what the names of the tensors begin with. */
  constructor(tensors: Map<string, ParsedTensor>, prefix: string, words: Words) {
    this.words = words;
    this.statusCodes = tensors.get(`${prefix}status`)!.bytes;
    this.reasonCodes = tensors.get(`${prefix}reason`)!.bytes;
    this.rows = this.statusCodes.length;
    const { buffer, byteOffset } = tensors.get(`${prefix}event_timestamp`)!.bytes;
    this.event_timestamps = new BigInt64Array(buffer, byteOffset, this.rows);
  }

  status(row: number): Status {
    return this.words.statuses[this.statusCodes[row]!]!;
  }

  /** Why there is no vector; null where there is one, or none ever was. */
  reason(row: number): Reason {
    return this.words.reasons[this.reasonCodes[row]!] ?? null;
  }
}
