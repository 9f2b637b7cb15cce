import { hash } from 'node:crypto';

import { assert } from '../ground/assert.ts';
import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import { DELETED, RevisionBatch } from '../store/batch.ts';
import type { ModelBinding, ModelVersion } from '../store/catalogue.ts';
import { vectorBytes, writeMade } from '../store/dtype.ts';
import { keepsInputs, packText } from '../store/texts.ts';
import { Coalescer, type KeyedText } from './coalescer.ts';
import { type AddedTexts, addEntityTexts, type TextRecord } from './entity-texts.ts';
import { FieldChanges } from './field-changes.ts';
import type { AskOptions, Embedder } from './inference/embedder.ts';
import { hashInput, normaliseText } from './model-input.ts';
import type { FieldSource } from './parts.ts';
import { Pending } from './pending.ts';
import type { Prepare, Prepared } from './prepare.ts';
import { compilePrompt, type Prompt } from './prompt.ts';
import { rejection } from './source-record.ts';
import { Turns } from './turns.ts';

/** Raised when `normaliseText` changes what it makes of a text: the vectors are others then. */
const NORMALISATION = 1;

/** The key of all texts of which nothing is left. */
const EMPTY = '';

/** A text that has no vector yet. */
type Waiting = KeyedText & { hash: Buffer };

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

/** How inputs are to be embedded. */
export interface AddOptions extends AskOptions {
  /** What is counted of these inputs, beside what is counted of all. */
  counts?: PipelineCounts | undefined;
}

export interface PipelineSettings {
  /**
   * Starts, or gives again, the embedder of that name. One that failed to start is tried again at
   * once only for a version to be, `isNew`; for others when it is time.
   */
  embedder(name: string, isNew: boolean): Promise<Embedder>;
  /** Copies the vector of an equal input of that model version to `out`; false when it has none. */
  copyPooled(view: string, version: string, inputHash: Uint8Array, out: Uint8Array): boolean;
  /** What was said of the entities of that model version, as it is now. */
  fields(view: string, version: string): FieldSource;
  /** Whether of the records that come together only an entity's last one is of interest. */
  isLatestOnly(view: string): boolean;
  /** Whether the model still makes the vectors of the version; throws MODEL_DRIFTED. */
  checkGolden?(view: string, version: ModelVersion, embedder: Embedder): Promise<void>;
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
  private coalescer = new Coalescer();
  /** Of each model version, by its name. */
  private turns = new Map<string, Turns>();
  /** The entities of texts on their way. */
  readonly pending = new Pending();
  /** By the name of a model version with a prompt. */
  readonly fieldChanges = new Map<string, FieldChanges>();

  constructor(settings: PipelineSettings) {
    this.settings = settings;
  }

  /**
   * What a new model version is to be bound to, with the dim of its vectors.
   * Throws MODEL_INVALID where there is no such model, BAD_CONFIG for a wrong prompt.
   */
  async bind({
    name,
    prompt,
    empty_text,
    keep_inputs,
  }: Omit<ModelBinding, 'fingerprint'>): Promise<{ binding: ModelBinding; dim: number }> {
    const compiled = prompt && compilePrompt(prompt);
    const { dim, fingerprint } = await this.settings.embedder(name, true);
    return {
      dim,
      binding: {
        name,
        fingerprint: fingerprintOf(fingerprint, compiled),
        ...(prompt && { prompt }),
        ...(empty_text && { empty_text }),
        ...(keep_inputs && { keep_inputs }),
      },
    };
  }

  /**
   * Adds a payload to the batch for every input: one for those that are equal. Gives for each input
   * its payload, `DELETED` where an empty text means that, or the reason that it has none (BAD_INPUT,
   * EMPTY_TEXT, or what the embedder says of the text).
   * Throws NO_MODEL, MODEL_CHANGED, MODEL_DRIFTED, and what the embedder throws: then the batch has payloads that
   * no row points at, and is not to be used.
   */
  async addTexts(
    view: string,
    version: ModelVersion,
    batch: RevisionBatch,
    inputs: readonly TextInput[],
    options: AddOptions,
  ): Promise<(number | TidemarkError)[]> {
    const count = (fate: keyof PipelineCounts, inputsOfIt = 1): void => {
      this.counts[fate] += inputsOfIt;
      if (options.counts !== undefined) options.counts[fate] += inputsOfIt;
    };
    const { embedder, prompt, fingerprint } = await this.modelOf(view, version);
    const isKept = keepsInputs(version);
    const pace = new Pace();
    const payloads = new Map<string, number | TidemarkError>([[EMPTY, DELETED]]);
    const waiting: Waiting[] = [];
    const keys = inputs.map((input): string | TidemarkError => {
      const text = this.textOf(input, prompt);
      if (text instanceof TidemarkError) {
        const isDelete = text.code === 'EMPTY_TEXT' && version.model?.empty_text === 'delete';
        if (!isDelete) count('rejected');
        return isDelete ? EMPTY : text;
      }
      const inputHash = hashInput(text);
      const key = `${fingerprint}${inputHash.toString('latin1')}`;
      if (payloads.has(key)) {
        count('repeated');
        return key;
      }
      payloads.set(key, DELETED);
      // With its bytes, since the pool may have forgotten it by the time of the commit.
      if (this.settings.copyPooled(view, version.version, inputHash, batch.nextPayload())) {
        count('pooled');
        // Whoever has it in the pool has its text.
        const kept = isKept ? packText(inputHash, text, 'plain') : undefined;
        payloads.set(key, batch.addFilled(inputHash, kept));
        return key;
      }
      waiting.push({ hash: inputHash, key, text });
      return key;
    });
    /** A model may give numbers that are too large for the dtype: of that text alone (A14). */
    const fill = (
      vector: Float32Array,
      { hash: inputHash, text }: Waiting,
    ): number | TidemarkError => {
      try {
        writeMade(vector, version.dim, version.dtype, batch.nextPayload());
        return batch.addFilled(inputHash, isKept ? packText(inputHash, text) : undefined);
      } catch (error) {
        if (error instanceof TidemarkError) return error;
        throw error;
      }
    };
    const { vectors, fresh } = await this.coalescer.embed(embedder, waiting, options);
    count('repeated', waiting.length - fresh);
    count('embedded', fresh);
    for (const [at, each] of waiting.entries()) {
      const vector = vectors[at]!;
      payloads.set(each.key, vector instanceof TidemarkError ? vector : fill(vector, each));
      if (isKept) await pace.rest();
    }
    return keys.map((key) => {
      if (key instanceof TidemarkError) return key;
      const payload = payloads.get(key)!;
      if (payload instanceof TidemarkError) count('rejected');
      return payload;
    });
  }

  /**
   * Adds what records say of their entities; see `addEntityTexts`. Throws as `addTexts` does.
   * The rows are to be committed together with the fields, and the rest of what it gives released.
   */
  async addRecords(
    view: string,
    version: ModelVersion,
    batch: RevisionBatch,
    records: readonly TextRecord[],
    options: AddOptions,
  ): Promise<AddedTexts> {
    const name = `${view}@${version.version}`;
    const prompt = version.model?.prompt;
    const using = {
      embed: async (into: RevisionBatch, inputs: readonly TextInput[]) =>
        this.addTexts(view, version, into, inputs, options),
      turns: getOrMake(this.turns, name, () => new Turns()),
      fields: () => this.settings.fields(view, version.version),
      changes: prompt && getOrMake(this.fieldChanges, name, () => new FieldChanges(prompt.fields)),
      isLatestOnly: this.settings.isLatestOnly(view),
    };
    const waiting = records.flatMap(({ entityId, input }) => (input === null ? [] : [entityId]));
    const settle = this.pending.add(view, version.version, waiting);
    try {
      const added = await addEntityTexts(version, batch, records, using);
      const release = (): void => {
        added.release();
        settle();
      };
      return { ...added, release };
    } catch (error) {
      settle();
      throw error;
    }
  }

  /** Prepares the records of a source of texts for commits to one model version. */
  preparer(view: string, version: ModelVersion): Prepare {
    return async (records) => {
      const rows = new RevisionBatch(vectorBytes(version.dim, version.dtype), records.length);
      const texts = records.map((record): TextRecord => {
        assert(record.kind !== 'vector', 'a source of texts has no vectors');
        return { ...record, input: record.kind === 'delete' ? null : { fields: record.fields } };
      });
      const options: AskOptions = { lane: 'nearline' };
      const added = await this.addRecords(view, version, rows, texts, options);
      const rejected: Prepared['rejected'] = [];
      let skipped = 0;
      for (const [index, said] of added.rows.entries()) {
        if (said instanceof TidemarkError) {
          rejected.push({ ...rejection(said), index });
          continue;
        }
        if (said.length === 0) skipped++;
        const { entityId, offset } = records[index]!;
        for (const row of said) rows.addRow(entityId, row.event, row.known, row.payload, offset);
      }
      const { fields, release } = added;
      return { rows, rejected, skipped, release, ...(fields && { fields }) };
    };
  }

  /**
   * The model of a version, and what it is given for an input, or why that is nothing.
   * Throws NO_MODEL, MODEL_CHANGED, MODEL_DRIFTED, MODEL_UNAVAILABLE.
   */
  async reader(
    view: string,
    version: ModelVersion,
  ): Promise<{ embedder: Embedder; read: (input: TextInput) => string | TidemarkError }> {
    const { embedder, prompt } = await this.modelOf(view, version);
    return { embedder, read: (input) => this.textOf(input, prompt) };
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
      return error;
    }
  }

  /**
   * The name of the model that made the version's vectors, and is still that one.
   * Throws NO_MODEL, MODEL_CHANGED, MODEL_DRIFTED, MODEL_UNAVAILABLE.
   */
  async modelName(view: string, version: ModelVersion): Promise<string> {
    return (await this.modelOf(view, version)).name;
  }

  /** The embedder and the prompt that made the version's vectors, and no others (A14). */
  private async modelOf(
    view: string,
    version: ModelVersion,
  ): Promise<{
    name: string;
    embedder: Embedder;
    prompt: Prompt | undefined;
    fingerprint: string;
  }> {
    const { model } = version;
    const name = `${view}@${version.version}`;
    if (model === undefined) {
      throw new TidemarkError('NO_MODEL', `the model version ${name} was made without a model`);
    }
    let prompt = this.prompts.get(model.fingerprint);
    if (prompt === undefined && model.prompt !== undefined) {
      prompt = compilePrompt(model.prompt);
      this.prompts.set(model.fingerprint, prompt);
    }
    const embedder = await this.settings.embedder(model.name, false);
    if (fingerprintOf(embedder.fingerprint, prompt) !== model.fingerprint) {
      throw new TidemarkError(
        'MODEL_CHANGED',
        `the model ${model.name} is not the one that made the vectors of ${name}: ` +
          'put that one back, or add a new model version',
      );
    }
    await this.settings.checkGolden?.(view, version, embedder);
    return { name: model.name, embedder, prompt, fingerprint: model.fingerprint };
  }
}

/** Names all that makes a vector of a text: model, tokenizer, pooling, prompt, normalisation. */
function fingerprintOf(model: string, prompt: Prompt | undefined): string {
  const parts: unknown[] = [model, NORMALISATION, prompt?.template ?? null, prompt?.fields ?? null];
  if (prompt?.chars_max !== undefined) {
    parts.push(Object.entries(prompt.chars_max).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
  return hash('sha256', JSON.stringify(parts));
}

function getOrMake<T>(map: Map<string, T>, key: string, make: () => T): T {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
