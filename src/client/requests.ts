/** An entity: a text, or a whole number, which equals its decimal text. */
export type EntityId = string | number;

/** What is asked of time; the latest where nothing is. Moments are RFC 3339 with an offset. */
export interface Question {
  as_of?: string | null;
  boundary?: 'inclusive' | 'exclusive';
  knowledge?: 'event' | 'input' | 'served';
  known_at?: string | null;
  /** ISO 8601, or `none`. */
  max_age?: string | null;
  now?: string | null;
  at_snapshot?: number;
  min_snapshot?: number;
}

export interface Lookup {
  feature_view: string;
  version?: string;
  entity_ids: readonly EntityId[];
  /** What the result is called; the view's name by default. */
  name?: string;
}

export interface LookupRequest extends Question {
  lookups: readonly Lookup[];
  /** Of the answer, whatever that of a version is; as stored by default. */
  dtype?: 'float32';
}

export interface ScoreRequest extends Question {
  query:
    | { feature_view: string; version?: string; entity_id: EntityId }
    | { vector: readonly number[]; scale?: number };
  feature_view: string;
  version?: string;
  entity_ids: readonly EntityId[];
  metric?: 'dot' | 'cosine';
}

export interface PushRequest {
  feature_view: string;
  version?: string;
  known?: 'arrival' | 'event';
  atomic?: boolean;
  records: readonly PushRecord[];
}

/** Exactly one of vector, deleted, text and fields. */
export interface PushRecord {
  entity_id: EntityId;
  event_timestamp: string;
  known_timestamp?: string;
  vector?: readonly number[] | null;
  /** Of a vector of int8: what its numbers are times. */
  scale?: number;
  deleted?: true;
  text?: string;
  fields?: Record<string, unknown>;
}

export interface PushAnswer {
  feature_view: string;
  /** A lookup with it as `min_snapshot` sees what was pushed. */
  snapshot: number;
  /** By model version, how many records became what. */
  versions: Record<string, { latest: number; history: number; duplicate: number }>;
  rejected: { index: number; code: string; message: string }[];
}

/** How one call is made. */
export interface CallOptions {
  /** From the call to its end, tries and waits included, ms. */
  deadlineMs?: number;
  signal?: AbortSignal;
}
