import { parseSafetensors } from '../timetravel/formats/safetensors.ts';
import type { QuestionEcho, Reason, Status } from './lookup-answer.ts';

/** One score an entity id, in order. */
export class ScoreAnswer {
  readonly snapshot: number;
  readonly question: QuestionEcho;
  readonly metric: 'dot' | 'cosine';
  /** The entity that was asked for; null for a vector that was sent. */
  readonly query: { feature_view: string; version: string; status: Status; reason: Reason } | null;
  readonly feature_view: string;
  readonly version: string;
  /** NaN where the row, or the query, is not PRESENT. */
  readonly scores: Float32Array;
  /** µs since the epoch; −2^63 where there is none. */
  readonly event_timestamps: BigInt64Array;
  private statusCodes: Uint8Array;
  private reasonCodes: Uint8Array;
  private words: { statuses: readonly Status[]; reasons: readonly Reason[] };

  constructor(body: Uint8Array) {
    const { metadata, tensors } = parseSafetensors(body);
    const told = JSON.parse(metadata['result']!) as Pick<
      ScoreAnswer,
      'metric' | 'query' | 'feature_view' | 'version'
    >;
    this.snapshot = Number(metadata['snapshot']);
    this.question = JSON.parse(metadata['question']!) as QuestionEcho;
    this.metric = told.metric;
    this.query = told.query;
    this.feature_view = told.feature_view;
    this.version = told.version;
    this.statusCodes = tensors.get('status')!.bytes;
    this.reasonCodes = tensors.get('reason')!.bytes;
    const rows = this.statusCodes.length;
    const scores = tensors.get('score')!.bytes;
    this.scores = new Float32Array(scores.buffer, scores.byteOffset, rows);
    const times = tensors.get('event_timestamp')!.bytes;
    this.event_timestamps = new BigInt64Array(times.buffer, times.byteOffset, rows);
    this.words = {
      statuses: JSON.parse(metadata['statuses']!) as Status[],
      reasons: JSON.parse(metadata['reasons']!) as Reason[],
    };
  }

  status(row: number): Status {
    return this.words.statuses[this.statusCodes[row]!]!;
  }

  reason(row: number): Reason {
    return this.words.reasons[this.reasonCodes[row]!] ?? null;
  }
}
