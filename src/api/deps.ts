import type { FastifyServerOptions } from 'fastify';
import type { Registry } from 'prom-client';

import type { TidemarkError } from '../ground/errors.ts';
import type { RevisionBatch } from '../store/batch.ts';
import type { ModelBinding, ModelVersion } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import type { SkewCheck } from '../timetravel/skew.ts';
import type { Limits } from './limits.ts';

/** What a record gives to a model: a whole text, or the fields of its prompt. */
export type TextInput = { text: string } | { fields: Record<string, unknown> };

export interface AskedModel {
  name: string;
  prompt?: { template: string; fields: string[] };
}

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
   * Adds the inputs' vectors to the batch as payloads; per input the payload's index, or why it has
   * none. Throws OVERLOADED, or whatever keeps the whole request from going on.
   */
  addTexts: (
    view: string,
    version: ModelVersion,
    batch: RevisionBatch,
    inputs: readonly TextInput[],
  ) => Promise<(number | TidemarkError)[]>;
  readiness: () => Readiness;
  /** Asks a sample of answers again; undefined where that is turned off. */
  skew?: SkewCheck;
  /** Makes a read replica a leader of its own. Rejects with NOT_A_REPLICA. */
  promote: () => Promise<void>;
  /** Where backups may be written that somebody asks the server for. */
  backupDirectories: readonly string[];
  /** How far ahead of the clock a record's times may be (A13), µs. */
  maxFutureSkew: number;
  logger: FastifyServerOptions['logger'];
  /** The API adds its metrics to it, and shows it at /metrics. */
  registry: Registry;
}
