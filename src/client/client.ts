import { setTimeout as sleep } from 'node:timers/promises';

import { TidemarkRefused, TidemarkUnreachable } from './errors.ts';
import { LookupAnswer } from './lookup-answer.ts';
import { Memory } from './memory.ts';
import type {
  CallOptions,
  EntityId,
  LookupRequest,
  PushAnswer,
  PushRequest,
  ScoreRequest,
} from './requests.ts';
import type { Response } from './response-reader.ts';
import { isPassing, waitMs } from './retry.ts';
import { ScoreAnswer } from './score-answer.ts';
import { type EntityVector, SingleLookups, type SingleQuestion } from './single-lookups.ts';
import { Transport } from './transport.ts';

export interface ClientOptions {
  /** Where the server is, such as `http://127.0.0.1:8080`. */
  url: string;
  /** Of a call that names no other, ms. */
  deadlineMs?: number;
  connectionsMax?: number;
  /** Of an https server: the certificates that are trusted, as PEM, instead of those of Node. */
  ca?: string;
  /** Tries of one call after the first. */
  retriesMax?: number;
  /** In [0, 1). */
  random?: () => number;
}

const DEADLINE_MS = 5_000;
/** No timer waits longer. */
const LONGEST_MS = 2 ** 31 - 1;
const CONNECTIONS_MAX = 64;
const RETRIES_MAX = 3;
const SAFETENSORS = 'application/vnd.safetensors';
const JSON_TYPE = 'application/json';

/**
 * A client of one server. All of its calls may be tried again: reads change nothing, and a record
 * that is pushed twice is stored once (A4).
 * They reject with TidemarkRefused, TidemarkUnreachable, or the reason of their signal.
 */
export class TidemarkClient {
  private transport: Transport;
  private memory = new Memory();
  private options: Required<Omit<ClientOptions, 'url' | 'connectionsMax' | 'ca'>>;
  private singles = new SingleLookups(async (request, options) => this.lookup(request, options));

  constructor({
    url,
    connectionsMax = CONNECTIONS_MAX,
    ca,
    deadlineMs = DEADLINE_MS,
    retriesMax = RETRIES_MAX,
    random = Math.random,
  }: ClientOptions) {
    this.transport = new Transport(url, connectionsMax, ca);
    this.options = { deadlineMs, retriesMax, random };
  }

  /** The vectors of entities of several views, now or as of a moment, at one snapshot. */
  async lookup(request: LookupRequest, options: CallOptions = {}): Promise<LookupAnswer> {
    const { body } = await this.call('/v1/lookup', request, SAFETENSORS, options);
    return new LookupAnswer(body, () => this.memory.giveBack(body));
  }

  /**
   * One entity. Those that are asked for in one turn of the event loop go as one request.
   * `view`: a feature view, or `view@version`.
   */
  async get(
    view: string,
    entityId: EntityId,
    { deadlineMs, signal, ...question }: SingleQuestion & CallOptions = {},
  ): Promise<EntityVector> {
    const [feature_view, version] = view.split('@') as [string, string | undefined];
    const options = {
      ...(deadlineMs !== undefined && { deadlineMs }),
      ...(signal !== undefined && { signal }),
    };
    return this.singles.get({ feature_view, version }, entityId, question, options);
  }

  /** Scores of entities against one vector, computed where they are stored. */
  async score(request: ScoreRequest, options: CallOptions = {}): Promise<ScoreAnswer> {
    const { body } = await this.call('/v1/score', request, SAFETENSORS, options);
    return new ScoreAnswer(body);
  }

  /** Resolves when what could be stored is durable. */
  async push(request: PushRequest, options: CallOptions = {}): Promise<PushAnswer> {
    const { body } = await this.call('/v1/push', request, JSON_TYPE, options);
    return JSON.parse(body.toString()) as PushAnswer;
  }

  /** Ends the connections; calls that are under way, and later ones, reject. */
  close(): void {
    this.transport.close();
  }

  private async call(
    path: string,
    request: object,
    accept: string,
    { deadlineMs: asked = this.options.deadlineMs, signal: given }: CallOptions,
  ): Promise<Response> {
    const deadlineMs = Math.min(asked, LONGEST_MS);
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), deadlineMs);
    try {
      return await this.tryOften(path, request, accept, deadlineMs, deadline.signal, given);
    } finally {
      clearTimeout(timer);
    }
  }

  private async tryOften(
    path: string,
    request: object,
    accept: string,
    deadlineMs: number,
    deadline: AbortSignal,
    given: AbortSignal | undefined,
  ): Promise<Response> {
    const { retriesMax, random } = this.options;
    const end = performance.now() + deadlineMs;
    const signal = given === undefined ? deadline : AbortSignal.any([deadline, given]);
    const sent = {
      path,
      body: JSON.stringify(request),
      signal,
      room: (bytes: number) => this.memory.take(bytes),
    };
    for (let tries = 1; ; tries++) {
      let failure: unknown;
      let retryAfter: string | undefined;
      try {
        // oxlint-disable-next-line no-await-in-loop
        const response = await this.transport.post({
          ...sent,
          headers: { 'content-type': JSON_TYPE, accept, ...waitsUntil(end) },
        });
        if (response.status === 200) return response;
        failure = refusalOf(response);
        if (!isPassing(response.status)) throw failure;
        retryAfter = response.headers['retry-after'];
      } catch (error) {
        given?.throwIfAborted();
        if (error instanceof TidemarkRefused) throw error;
        failure = error;
      }
      if (tries > retriesMax || deadline.aborted)
        throw gaveUp(failure, tries, deadlineMs, deadline);
      try {
        // oxlint-disable-next-line no-await-in-loop
        await sleep(waitMs(tries, retryAfter, random()), undefined, { signal });
      } catch {
        given?.throwIfAborted();
        throw gaveUp(failure, tries, deadlineMs, deadline);
      }
    }
  }
}

/** For how long the server may think that the answer is waited for. */
function waitsUntil(end: number): Record<string, string> {
  return { 'x-request-timeout-ms': String(Math.max(0, Math.ceil(end - performance.now()))) };
}

function refusalOf({ status, body }: Response): TidemarkRefused {
  const text = body.toString();
  try {
    const { code, detail } = JSON.parse(text) as { code: string; detail: string };
    return new TidemarkRefused(status, code, detail);
  } catch {
    return new TidemarkRefused(status, 'UNKNOWN', text.slice(0, 200));
  }
}

function gaveUp(failure: unknown, tries: number, deadlineMs: number, deadline: AbortSignal): Error {
  if (failure instanceof TidemarkRefused && !deadline.aborted) return failure;
  const why = failure instanceof Error ? failure.message : String(failure);
  const within = deadline.aborted ? ` within ${deadlineMs} ms` : '';
  return new TidemarkUnreachable(`no answer${within} after ${tries} tries: ${why}`, {
    cause: failure,
  });
}
