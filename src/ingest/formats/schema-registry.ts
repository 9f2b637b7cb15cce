import { z } from 'zod';

import { TidemarkError } from '../../ground/errors.ts';
import { type SecretConfig, readSecret } from '../secret.ts';
import { badRecord, type SourceRecord } from '../source-record.ts';
import { type AvroReader, compileAvro } from './avro.ts';
import type { Schemas } from './encodings.ts';
import { schemaIdOf } from './wire-format.ts';

/** How long one request may take. */
const REQUEST_MS_MAX = 10_000;
/** References of references, and so on, until they are taken for a circle. */
const REFERENCES_DEEP = 16;
/** Numbers of schemas are positive and of 32 bits. */
const ID_MAX = 2 ** 31 - 1;
/** How a registry says that it has no such schema; some refuse a number that they cannot have. */
const NO_SUCH_SCHEMA = new Set([400, 404, 422]);
/** Requests at once: few, since a batch of damage should not flood the registry. */
const REQUESTS_AT_ONCE = 4;
/** Before a schema that the registry did not have is asked for again. */
const UNKNOWN_MS = 60_000;

export interface RegistryConfig extends SecretConfig {
  url: string;
  username?: string | undefined;
}

const answerSchema = z.object({
  schema: z.string(),
  /** Absent for Avro. */
  schemaType: z.string().default('AVRO'),
  references: z
    .array(z.object({ subject: z.string(), version: z.int() }))
    .nullish()
    .transform((references) => references ?? []),
});
type Answer = z.output<typeof answerSchema>;

/**
 * Schemas of a Confluent-compatible registry, each asked for once. A number that the registry does
 * not know is asked again after a while: the schema may be registered by then.
 */
export class SchemaRegistry implements Schemas {
  private config: RegistryConfig;
  private topics: ReadonlySet<string>;
  private now: () => number;
  private readers = new Map<number, AvroReader | TidemarkError>();
  /** Those that the registry does not have, and when it said so, ms; the oldest first. */
  private unknown = new Map<number, { failure: TidemarkError; asked: number }>();
  private asked = new Map<number, Promise<void>>();

  /**
   * `topics`: whose keys and values name schemas.
   * `now`: ms, of a clock that never goes back.
   */
  constructor(config: RegistryConfig, topics: Iterable<string>, now: () => number) {
    this.config = config;
    this.now = now;
    this.topics = new Set(topics);
  }

  /**
   * Fetches the schemas that the records name. Rejects when the registry does not answer, or not as
   * one does: that is no fault of the records, and is to be tried again.
   */
  async load(records: readonly SourceRecord[]): Promise<void> {
    const missing = new Set<number>();
    for (const { topic, key, value } of records) {
      if (!this.topics.has(topic)) continue;
      for (const bytes of [key, value]) {
        const id = bytes === null ? undefined : schemaIdOf(bytes);
        if (id !== undefined && id <= ID_MAX && this.isMissing(id)) missing.add(id);
      }
    }
    const left = missing.values();
    const fetchLeft = async (): Promise<void> => {
      for (const id of left) await this.fetchOnce(id);
    };
    try {
      await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, fetchLeft));
    } finally {
      // Where one failed, the others stop after the one that they are at.
      missing.clear();
    }
    this.forgetUnknown();
  }

  avro(id: number): AvroReader {
    const reader = this.readers.get(id);
    if (typeof reader === 'function') return reader;
    if (reader !== undefined) throw reader;
    if (id > ID_MAX) throw unknownSchema(id);
    const unknown = this.unknown.get(id);
    if (unknown !== undefined) throw unknown.failure;
    throw new Error(`the schema ${id} was not asked for`);
  }

  private isMissing(id: number): boolean {
    if (this.readers.has(id)) return false;
    const unknown = this.unknown.get(id);
    return unknown === undefined || this.now() - unknown.asked >= UNKNOWN_MS;
  }

  /** Damage can name any number. Those that a batch under way may still look for are younger. */
  private forgetUnknown(): void {
    for (const [id, { asked }] of this.unknown) {
      if (this.now() - asked < 2 * UNKNOWN_MS) return;
      this.unknown.delete(id);
    }
  }

  private async fetchOnce(id: number): Promise<void> {
    let asking = this.asked.get(id);
    if (asking === undefined) {
      asking = this.fetchReader(id).finally(() => this.asked.delete(id));
      this.asked.set(id, asking);
    }
    await asking;
  }

  private async fetchReader(id: number): Promise<void> {
    try {
      const answer = await this.get(`schemas/ids/${id}`);
      if (answer === undefined) throw unknownSchema(id);
      this.readers.set(id, await this.readerOf(id, answer));
      this.unknown.delete(id);
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'BAD_RECORD') throw error;
      this.unknown.delete(id);
      this.unknown.set(id, { failure: error, asked: this.now() });
    }
  }

  private async readerOf(id: number, answer: Answer): Promise<AvroReader | TidemarkError> {
    if (answer.schemaType !== 'AVRO') {
      return badRecord(`the value names the schema ${id}, which is ${answer.schemaType}`, 'Avro');
    }
    const references = await this.references(answer, new Set(), REFERENCES_DEEP);
    try {
      return compileAvro(answer.schema, references);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return badRecord(`the schema ${id} cannot be used (${why})`, 'an Avro schema');
    }
  }

  /** The schemas that one refers to, each after those that it refers to itself. */
  private async references(answer: Answer, seen: Set<string>, deep: number): Promise<string[]> {
    const found: string[] = [];
    if (deep === 0) return found;
    for (const { subject, version } of answer.references) {
      const path = `subjects/${encodeURIComponent(subject)}/versions/${version}`;
      if (seen.has(path)) continue;
      seen.add(path);
      const referred = await this.get(path);
      if (referred === undefined) {
        throw badRecord(`the schema of the value refers to ${path}`, 'one that the registry has');
      }
      found.push(...(await this.references(referred, seen, deep - 1)), referred.schema);
    }
    return found;
  }

  /** The answer, or undefined where the registry says that there is no such schema. */
  private async get(path: string): Promise<Answer | undefined> {
    const { url, username } = this.config;
    const headers: Record<string, string> = { accept: 'application/vnd.schemaregistry.v1+json' };
    if (username !== undefined) {
      const secret = readSecret('kafka.registry', this.config);
      headers['authorization'] = `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`;
    }
    const asked = fetch(`${url.replace(/\/+$/, '')}/${path}`, {
      headers,
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
    });
    const response = await asked.catch((error: Error) => error);
    if (response instanceof Error) {
      const { cause = response } = response;
      // Without a cause of its own, so that it is this message that is shown.
      throw new Error(`the schema registry did not answer: ${String(cause)}`);
    }
    const { status } = response;
    const body: unknown = await response.json().catch(() => undefined);
    // One that stands before the registry, or another server, does not say why as a registry does.
    if (NO_SUCH_SCHEMA.has(status) && hasErrorCode(body)) return undefined;
    const answer = answerSchema.safeParse(body);
    if (status === 200 && answer.success) return answer.data;
    throw new Error(
      `the schema registry answered ${status} to ${path}, expected a schema` +
        (status === 401 || status === 403 ? ': username or password are not right' : ''),
    );
  }
}

function hasErrorCode(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'error_code' in body;
}

function unknownSchema(id: number): TidemarkError {
  return badRecord(`the value names the schema ${id}`, 'one that the registry has');
}
