import { parseSafetensors } from '../timetravel/formats/safetensors.ts';
import type { QuestionEcho } from './lookup-answer.ts';
import { type Reason, Rows, type Status, wordsOf } from './rows.ts';

/** One score an entity id, in order. */
export class ScoreAnswer extends Rows {
  readonly snapshot: number;
  readonly question: QuestionEcho;
  readonly metric: 'dot' | 'cosine';
  /** The entity that was asked for; null for a vector that was sent. */
  readonly query: { feature_view: string; version: string; status: Status; reason: Reason } | null;
  readonly feature_view: string;
  readonly version: string;
  /** NaN where the row, or the query, is not PRESENT. */
  readonly scores: Float32Array;

  constructor(body: Uint8Array) {
    const { metadata, tensors } = parseSafetensors(body);
    super(tensors, '', wordsOf(metadata));
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
    const { buffer, byteOffset } = tensors.get('score')!.bytes;
    this.scores = new Float32Array(buffer, byteOffset, this.rows);
  }
}
