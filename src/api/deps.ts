import type { FastifyServerOptions } from 'fastify';
import type { Registry } from 'prom-client';

import type { TidemarkError } from '../ground/errors.ts';
import type { Drift } from '../rollout/drift.ts';
import type { Shadow } from '../rollout/shadow.ts';
import type { DeadLetter, RevisionBatch } from '../store/batch.ts';
import type { GateResult, ModelBinding, ModelVersion } from '../store/catalogue.ts';
import type { FieldRow } from '../store/fields.ts';
import type { ReadStore, Store } from '../store/store.ts';
import type { Prefetch } from '../timetravel/cold/prefetch.ts';
import type { Exports } from '../timetravel/exports/exports.ts';
import type { JoinPool } from '../timetravel/join/pool.ts';
import type { SkewCheck } from '../timetravel/skew.ts';
import type { Backfilling } from './backfilling.ts';
import type { Limits } from './limits.ts';
import type { ReplayAnswer } from './schemas/dead-letters.ts';

/** What a record gives to a model: a whole text, or the fields of its prompt. */
export type TextInput = { text: string } | { fields: Record<string, unknown> };

/** What a record says of an entity. Times in µs. */
export interface TextRecord {
  entityId: string;
  event: number;
  known: number;
  /** Which part of the entity it is about, where the prompt of the version has parts. */
  part?: string | undefined;
  /** Null for a delete. */
  input: TextInput | null;
}

/** A revision to be: its times, µs, and its payload in the batch, or `DELETED`. */
export interface SaidRow {
  event: number;
  known: number;
  payload: number;
}

export interface AddedTexts {
  /** For each record the revisions that it leads to, its own first, or why it leads to none. */
  rows: (SaidRow[] | TidemarkError)[];
  /** To be committed with the rows. */
  fields?: readonly FieldRow[] | undefined;
  /** To be called when the commit is over, however it went. */
  release: () => void;
}

/** A model as it is asked for, and how it is to be used. */
export type AskedModel = Omit<ModelBinding, 'fingerprint'>;

export interface Readiness {
  ready: boolean;
  checks: Record<string, { ok: boolean; message?: string; [detail: string]: unknown }>;
}

/** All that the API needs of the rest of the process. */
export interface Deps {
  store: Store;
  limits: Limits;
  /**
   * Looks the model up and takes its fingerprint; `dim` is that of its vectors.
   * Throws MODEL_INVALID, BAD_CONFIG for a prompt that is not in order.
   */
  bindModel: (model: AskedModel) => Promise<{ binding: ModelBinding; dim: number }>;
  /**
   * Adds the vectors of what records say to the batch as payloads. What waits is given up when `signal` is aborted. Throws OVERLOADED, or whatever keeps the
   * whole request from going on.
   */
  addTexts: (
    view: string,
    version: ModelVersion,
    batch: RevisionBatch,
    records: readonly TextRecord[],
    signal: AbortSignal | undefined,
  ) => Promise<AddedTexts>;
  /**
   * The vectors of texts by a model, or by that of a model version; all or none. Throws BAD_INPUT,
   * EMPTY_TEXT, BAD_VECTOR and INFERENCE_FAILED for a text, MODEL_INVALID, MODEL_CHANGED, NO_MODEL,
   * MODEL_UNAVAILABLE and OVERLOADED.
   */
  embed: (asked: {
    model: { name: string } | { view: string; version: ModelVersion };
    texts: readonly string[];
    dimensions: number | undefined;
    signal: AbortSignal;
  }) => Promise<{ vectors: Float32Array; dim: number; tokens: number }>;
  /**
   * The entities of a model version of which a text was taken in and waits for its vector; undefined
   * where there are none. As they are at the moment, whatever snapshot is asked for.
   */
  pendingOf: (view: string, version: string) => { has(entityId: string): boolean } | undefined;
  /** Looks at a version that is to be promoted, gate by gate, in the order in which they are told. */
  checkGates: (view: string, version: string, signal: AbortSignal) => Promise<GateResult[]>;
  /** Tries dead letters of a version again; see `ReplayAnswer` for the counts. */
  replayLetters: (
    at: { view: string; version: string },
    letters: readonly DeadLetter[],
  ) => Promise<Omit<ReplayAnswer, 'tried' | 'next'>>;
  /** Topics that what is stored is published to: out of reach of an erasure. */
  sinkTopics: readonly string[];
  /** Told of every compaction that was asked for, for the metrics. */
  compacted: (outcome: 'done' | 'failed') => void;
  readiness: () => Readiness | Promise<Readiness>;
  /** Asks a sample of answers again; undefined where that is turned off. */
  skew?: SkewCheck;
  /** Asks candidates what a sample of lookups asked; undefined where that is turned off. */
  shadow?: Shadow;
  /** Measures the vectors of model versions; undefined: nothing is known of them. */
  drift?: Drift;
  /** Reads what lookups are going to, where data are colder than memory; undefined: never. */
  prefetch?: Pick<Prefetch, 'isCold' | 'bring'>;
  /** Makes a read replica a leader of its own. Rejects with NOT_A_REPLICA. */
  promote: () => Promise<void>;
  /** The threads that all training joins share. */
  joinPool: JoinPool;
  exports: Exports;
  backfills: Backfilling;
  /** Where files of backfills may lie. */
  backfillDirectories: readonly string[];
  /** Where spines of exports may lie that are not sent. */
  spineDirectories: readonly string[];
  /** Where backups may be written that somebody asks the server for. */
  backupDirectories: readonly string[];
  /** How far ahead of the clock a record's times may be (A13), µs. */
  maxFutureSkew: number;
  logger: FastifyServerOptions['logger'];
  /** The API adds its metrics to it, and shows it at /metrics. */
  registry: Registry;
}

/** What of it a process needs that only reads. */
export interface ReadDeps extends Pick<
  Deps,
  'limits' | 'pendingOf' | 'skew' | 'shadow' | 'prefetch' | 'readiness' | 'logger' | 'registry'
> {
  store: ReadStore;
  /** What /metrics shows; the registry alone where it is undefined. */
  scrape?: () => Promise<string>;
}
