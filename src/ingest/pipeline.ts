import { hash } from 'node:crypto';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { DELETED, RevisionBatch } from '../store/batch.ts';
import type { ModelBinding, ModelVersion } from '../store/catalogue.ts';
import { vectorBytes, writeNumbers } from '../store/dtype.ts';
import type { Embedder } from './inference/embedder.ts';
import { hashInput, normaliseText } from './model-input.ts';
import type { Prepare, Prepared } from './prepare.ts';
import { compilePrompt, type Prompt, type PromptConfig } from './prompt.ts';
import { rejection } from './source-record.ts';

/** Raised when `normaliseText` changes what it makes of a text: the vectors are others then. */
const NORMALISATION = 1;

/**
 * Vectors of the newest inputs are kept for others that meet an equal input before the first one is
 * committed: from the pool of inputs on, the store remembers.
 */
const RECENT_MAX = 8_192;

/** What a model is to read: a whole text, or fields that the version's prompt makes one of. */
export type TextInput = { text: string } | { fields: Record<string, unknown> };

/** How many inputs met which fate; they only grow. */
export interface PipelineCounts {
  /** Inputs that a model was run for. */
  embedded: number;
  /** Inputs that an equal one was embedded before. */
  pooled: number;
  /** Inputs that stood more than once in one batch, or were being embedded for another one. */
  repeated: number;
  /** Inputs that cannot be embedded. */
  rejected: number;
}

export interface PipelineSettings {
  /** Starts, or gives again, the embedder of that name. */
  embedder(name: string): Promise<Embedder>;
  /** Copies the vector of an equal input of that model version to `out`; false when it has none. */
  copyPooled(view: string, version: string, inputHash: Uint8Array, out: Uint8Array): boolean;
  /** Longest text that is embedded, in UTF-16 units. */
  textCharsMax: number;
}

/**
 * From what was said about an entity to a vector: prompt → normalise → hash → an equal input's
 * vector, or the embedder. Equal inputs are embedded once and stored once; each event becomes a
 * revision all the same (A4).
 */
export class Pipeline {
  readonly counts: PipelineCounts = { embedded: 0, pooled: 0, repeated: 0, rejected: 0 };
  private settings: PipelineSettings;
  private prompts = new Map<string, Prompt>();
  /** By fingerprint and hash, the oldest first. */
  private recent = new Map<string, Promise<Float32Array>>();

  constructor(settings: PipelineSettings) {
    this.settings = settings;
  }

  /**
   * What a new model version is to be bound to, with the dim of its vectors.
   * Throws MODEL_INVALID where there is no such model, BAD_CONFIG for a wrong prompt.
   */
  async bind(name: string, prompt?: PromptConfig): Promise<{ binding: ModelBinding; dim: number }> {
    const compiled = prompt && compilePrompt(prompt);
    const { dim, fingerprint } = await this.settings.embedder(name);
    return {
      dim,
      binding: {
        name,
        fingerprint: fingerprintOf(fingerprint, compiled),
        ...(compiled && { prompt: { template: compiled.template, fields: [...compiled.fields] } }),
      },
    };
  }

  /**
   * Adds a payload to the batch for every input: one for those that are equal. Gives for each input
   * its payload, or the reason that it has none (BAD_INPUT).
   * Throws NO_MODEL, MODEL_CHANGED, and what the embedder throws: then the batch has payloads that
   * no row points at, and is not to be used.
   */
  async addTexts(
    view: string,
    version: ModelVersion,
    batch: RevisionBatch,
    inputs: readonly TextInput[],
  ): Promise<(number | TidemarkError)[]> {
    const { embedder, prompt, fingerprint } = await this.modelOf(view, version);
    const payloads = new Map<string, number>();
    const waiting: { hash: Buffer; key: string; vector: Promise<Float32Array> }[] = [];
    const fresh: { text: string; key: string; settle: PromiseWithResolvers<Float32Array> }[] = [];
    const keys = inputs.map((input): string | TidemarkError => {
      const text = this.textOf(input, prompt);
      if (text instanceof TidemarkError) return text;
      const inputHash = hashInput(text);
      const key = `${fingerprint}${inputHash.toString('latin1')}`;
      if (payloads.has(key)) {
        this.counts.repeated++;
        return key;
      }
      payloads.set(key, DELETED);
      // With its bytes, since the pool may have forgotten it by the time of the commit.
      if (this.settings.copyPooled(view, version.version, inputHash, batch.nextPayload())) {
        this.counts.pooled++;
        payloads.set(key, batch.addFilled(inputHash));
        return key;
      }
      let vector = this.recent.get(key);
      if (vector === undefined) {
        const settle = Promise.withResolvers<Float32Array>();
        fresh.push({ text, key, settle });
        vector = settle.promise;
        this.remember(key, vector);
      } else {
        this.counts.repeated++;
      }
      waiting.push({ hash: inputHash, key, vector });
      return key;
    });
    void this.embed(embedder, fresh);
    const vectors = await Promise.all(waiting.map(async ({ vector }) => vector));
    waiting.forEach(({ hash: inputHash, key }, at) => {
      writeNumbers(vectors[at]!, version.dim, version.dtype, batch.nextPayload());
      payloads.set(key, batch.addFilled(inputHash));
    });
    return keys.map((key) => (key instanceof TidemarkError ? key : payloads.get(key)!));
  }

  /** Embeds the texts together; who waits for one of them hears how it went. */
  private async embed(
    embedder: Embedder,
    fresh: readonly { text: string; key: string; settle: PromiseWithResolvers<Float32Array> }[],
  ): Promise<void> {
    if (fresh.length === 0) return;
    try {
      const matrix = await embedder.embed(fresh.map(({ text }) => text));
      this.counts.embedded += fresh.length;
      fresh.forEach(({ settle }, at) => {
        settle.resolve(matrix.subarray(at * embedder.dim, (at + 1) * embedder.dim));
      });
    } catch (error) {
      for (const { key, settle } of fresh) {
        this.recent.delete(key);
        settle.reject(error);
      }
    }
  }

  private remember(key: string, vector: Promise<Float32Array>): void {
    // Who waits for it hears of a failure; that it is kept here is nobody's failure.
    vector.catch(() => {});
    this.recent.set(key, vector);
    if (this.recent.size > RECENT_MAX) this.recent.delete(this.recent.keys().next().value!);
  }

  /** Prepares the records of a source of texts for commits to one model version. */
  preparer(view: string, version: ModelVersion): Prepare {
    return async (records) => {
      const rows = new RevisionBatch(vectorBytes(version.dim, version.dtype), records.length);
      const texts = records.flatMap((record) => (record.kind === 'text' ? [record] : []));
      const added = await this.addTexts(view, version, rows, texts);
      const rejected: Prepared['rejected'] = [];
      let next = 0;
      for (const [index, record] of records.entries()) {
        assert(record.kind !== 'vector', 'a source of texts has no vectors');
        const payload = record.kind === 'delete' ? DELETED : added[next++]!;
        if (payload instanceof TidemarkError) rejected.push({ ...rejection(payload), index });
        else rows.addRow(record.entityId, record.event, record.known, payload, record.offset);
      }
      return { rows, rejected };
    };
  }

  private textOf(input: TextInput, prompt: Prompt | undefined): string | TidemarkError {
    try {
      if ('text' in input) return normaliseText(input.text, this.settings.textCharsMax);
      if (prompt === undefined) {
        throw new TidemarkError(
          'BAD_INPUT',
          'got fields, expected a text: the model version was made without a prompt',
        );
      }
      return normaliseText(prompt.render(input.fields), this.settings.textCharsMax);
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      this.counts.rejected++;
      return error;
    }
  }

  /** The embedder and the prompt that made the version's vectors, and no others (A14). */
  private async modelOf(
    view: string,
    { version, model }: ModelVersion,
  ): Promise<{ embedder: Embedder; prompt: Prompt | undefined; fingerprint: string }> {
    const name = `${view}@${version}`;
    if (model === undefined) {
      throw new TidemarkError('NO_MODEL', `the model version ${name} was made without a model`);
    }
    let prompt = this.prompts.get(model.fingerprint);
    if (prompt === undefined && model.prompt !== undefined) {
      prompt = compilePrompt(model.prompt);
      this.prompts.set(model.fingerprint, prompt);
    }
    const embedder = await this.settings.embedder(model.name);
    if (fingerprintOf(embedder.fingerprint, prompt) !== model.fingerprint) {
      throw new TidemarkError(
        'MODEL_CHANGED',
        `the model ${model.name} is not the one that made the vectors of ${name}: ` +
          'put that one back, or add a new model version',
      );
    }
    return { embedder, prompt, fingerprint: model.fingerprint };
  }
}

/** Names all that makes a vector of a text: model, tokenizer, pooling, prompt, normalisation. */
function fingerprintOf(model: string, prompt: Prompt | undefined): string {
  const parts = [model, NORMALISATION, prompt?.template ?? null, prompt?.fields ?? null];
  return hash('sha256', JSON.stringify(parts));
}
