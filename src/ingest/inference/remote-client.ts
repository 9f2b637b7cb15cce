import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';
import { normOf } from './pooling.ts';
import { readApiKey, type RemoteModel } from './remote-config.ts';

/** Lengths of vectors that count as 1: half precision rounds to three digits. */
const NORM_TOLERANCE = 0.01;
/** However long a server asks to be left alone. */
const ASKS_MS_MAX = 3_600_000;
/** Of an answer: of all that is in it beside numbers, and of a number, in digits and blanks. */
const ANSWER_BYTES = 1_048_576;
const NUMBER_BYTES = 64;
/** What is shown of an answer that is an error. */
const SAID_CHARS = 300;

/**
 * What kept an answer from coming, other than its texts. `busy`: the server asks for patience.
 * `denied`: it would refuse any request. `broken`: anything else.
 */
export class RemoteFailure extends Error {
  override name = 'RemoteFailure';
  readonly kind: 'busy' | 'broken' | 'denied';
  /** How long the server asks to be left alone, ms. */
  readonly asksMs: number;

  constructor(kind: RemoteFailure['kind'], message: string, asksMs = 0) {
    super(message);
    this.kind = kind;
    this.asksMs = asksMs;
  }
}

/** The server refuses the request for what is in it: one of the texts, as a rule, or too many. */
export class TextsRefused extends Error {
  override name = 'TextsRefused';
}

/** Vectors as they were answered: rows × dim, and by row what is wrong with one. */
export interface RemoteAnswer {
  vectors: Float32Array<ArrayBuffer>;
  failures: Map<number, TidemarkError>;
}

/** Asks a server for embeddings in OpenAI's shape, and looks hard at what it answers. */
export class RemoteClient {
  readonly #remote: RemoteModel;
  readonly #environment: Record<string, string | undefined>;

  constructor(remote: RemoteModel, environment: Record<string, string | undefined>) {
    this.#remote = remote;
    this.#environment = environment;
  }

  /** Throws RemoteFailure, TextsRefused, and when aborted. */
  async embed(texts: readonly string[], signal: AbortSignal): Promise<RemoteAnswer> {
    const { url, model, dim, dimensions, timeout_seconds } = this.#remote;
    const key = this.#key();
    const timeout = AbortSignal.timeout(Math.ceil(timeout_seconds * 1_000));
    let response: Response;
    let body: string;
    try {
      response = await fetch(`${url}/embeddings`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify({
          model,
          input: texts,
          encoding_format: 'base64',
          ...(dimensions && { dimensions: dim }),
        }),
        // A key is for the server that it was given for.
        redirect: 'error',
        signal: AbortSignal.any([signal, timeout]),
      });
      body = await readText(response, ANSWER_BYTES + texts.length * dim * NUMBER_BYTES);
    } catch (error) {
      signal.throwIfAborted();
      const why = timeout.aborted
        ? `did not answer within ${timeout_seconds} s`
        : `cannot be reached or broke off (${reasonOf(error)})`;
      throw new RemoteFailure('broken', `${url} ${why}`);
    }
    if (response.status !== 200) throw this.#refusal(response, body, key);
    return this.#read(body, texts.length);
  }

  #key(): string | undefined {
    try {
      return readApiKey(this.#remote, this.#environment);
    } catch (error) {
      throw new RemoteFailure('denied', messageOf(error));
    }
  }

  #refusal({ status, headers }: Response, body: string, key: string | undefined): Error {
    let said = saidIn(body);
    // Some servers repeat what they were sent.
    if (key !== undefined) said = said.replaceAll(key, '…');
    const message = `${this.#remote.url} answered ${status}${said && `: ${said}`}`;
    if (status === 400 || status === 413 || status === 422) return new TextsRefused(message);
    const asksMs = retryAfterMs(headers.get('retry-after'));
    // Also of 503: a text that a server dies of does not make it say so.
    if (status === 429 || status === 503) return new RemoteFailure('busy', message, asksMs);
    const isPassing = status >= 500 || status === 408 || status === 425;
    return new RemoteFailure(isPassing ? 'broken' : 'denied', message, asksMs);
  }

  #read(body: string, rows: number): RemoteAnswer {
    const { dim, normalised } = this.#remote;
    const answer: RemoteAnswer = { vectors: new Float32Array(rows * dim), failures: new Map() };
    const seen = new Set<number>();
    for (const { index, embedding } of this.#entries(body, rows)) {
      if (!Number.isInteger(index) || index < 0 || index >= rows || seen.has(index)) {
        throw this.#odd(`gave ${rows} texts the index ${index}, once more or out of range`);
      }
      seen.add(index);
      const vector = answer.vectors.subarray(index * dim, (index + 1) * dim);
      this.#decode(embedding, vector);
      const norm = normOf(vector);
      if (!(norm > 0 && norm < Infinity)) {
        const why = `the remote model gave the text a vector of length ${norm}, expected a finite one that is not all zeros`;
        answer.failures.set(index, new TidemarkError('BAD_VECTOR', why));
      } else if (normalised && Math.abs(norm - 1) > NORM_TOLERANCE) {
        throw this.#odd(`gave a vector of length ${norm}, expected 1: the model is normalised`);
      }
    }
    return answer;
  }

  #entries(body: string, rows: number): { index: number; embedding: unknown }[] {
    let answer: unknown;
    try {
      answer = JSON.parse(body);
    } catch (error) {
      throw this.#odd(`answered what is not JSON (${messageOf(error)})`);
    }
    const data = isObject(answer) ? answer['data'] : undefined;
    if (!Array.isArray(data) || data.length !== rows) {
      const got = Array.isArray(data) ? `${data.length} embeddings` : 'no embeddings';
      throw this.#odd(`answered ${rows} texts with ${got}`);
    }
    return data.map((each: unknown) => {
      const entry = isObject(each) ? each : {};
      return { index: Number(entry['index'] ?? NaN), embedding: entry['embedding'] };
    });
  }

  /** Little-endian float32 as base64, or numbers; `into` is of the model's dim. */
  #decode(embedding: unknown, into: Float32Array): void {
    if (typeof embedding === 'string') {
      const bytes = Buffer.from(embedding, 'base64');
      if (bytes.length !== into.byteLength) {
        throw this.#odd(`gave a vector of ${bytes.length} bytes, expected ${into.byteLength}`);
      }
      // The bytes of a float32 here are little-endian too: ONNX Runtime runs on no other machine.
      new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
      return;
    }
    if (!Array.isArray(embedding) || embedding.length !== into.length) {
      const got = Array.isArray(embedding) ? `a vector of dim ${embedding.length}` : 'no vector';
      throw this.#odd(`gave ${got}, expected one of dim ${into.length}`);
    }
    for (const [at, value] of (embedding as unknown[]).entries()) {
      into[at] = typeof value === 'number' ? value : NaN;
    }
  }

  #odd(problem: string): RemoteFailure {
    return new RemoteFailure('broken', `${this.#remote.url} ${problem}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** The body, as far as it is no longer than any answer. */
async function readText({ body }: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`the answer is over ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** What an error's body says, in the words of whichever server. */
function saidIn(body: string): string {
  let said: unknown;
  try {
    const json: unknown = JSON.parse(body);
    if (isObject(json)) {
      const { error, detail, message } = json;
      said = isObject(error) ? error['message'] : (error ?? detail ?? message);
    }
  } catch {
    // It is no JSON: the text is what there is to show.
  }
  const text = typeof said === 'string' ? said : body;
  return text.length > SAID_CHARS ? `${text.slice(0, SAID_CHARS)}…` : text;
}

/** fetch says that it failed; why is in its cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = isObject(cause) && typeof cause['code'] === 'string' ? cause['code'] : undefined;
  return code ?? messageOf(cause);
}

/** Seconds, or a date by the server's clock. */
function retryAfterMs(header: string | null): number {
  if (header === null) return 0;
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1_000;
  return ms > 0 ? Math.min(ms, ASKS_MS_MAX) : 0;
}
