import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';

import { TidemarkError } from '../../ground/errors.ts';

const CHANGES_TYPE = 'application/vnd.tidemark.changes';

/**
 * The leader's changes after `after`, for as long as the connection lasts. It is given up when
 * nothing comes for `silenceMs`: a leader gives a sign of life every second.
 * Throws REPLICA_DIVERGED when the leader has not come as far as `after`, or by another way, and the
 * signal's reason.
 */
export async function* streamChanges(
  url: string,
  after: number,
  silenceMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const silence = new AbortController();
  const over = AbortSignal.any([signal, silence.signal]);
  /** Waits for the leader, and for nobody else: not while what it sent is being worked on. */
  const within = async <T>(answer: Promise<T>): Promise<T> => {
    const giveUp = () => silence.abort(new Error(`${url} was silent for ${silenceMs} ms`));
    const timer = setTimeout(giveUp, silenceMs);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  };
  try {
    const response = await within(ask(`${url}/v1/changes?after=${after}&follow=true`, over));
    if (response.statusCode !== 200 || response.headers['content-type'] !== CHANGES_TYPE) {
      throw await within(refusal(url, after, response));
    }
    const parts = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    for (;;) {
      const { done, value } = await within(parts.next());
      if (done) return;
      yield value;
    }
  } catch (error) {
    over.throwIfAborted();
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ECONNRESET' ? new Error(`the connection to ${url} broke off`) : error;
  } finally {
    // Whatever is still open of it.
    silence.abort();
  }
}

/** A connection of its own, which nothing else is ever asked on. */
async function ask(url: string, signal: AbortSignal): Promise<IncomingMessage> {
  const { get } = url.startsWith('https:') ? https : http;
  const request = get(url, { agent: false, headers: { accept: CHANGES_TYPE }, signal });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  // What breaks off is for whoever reads the response to see.
  request.on('error', () => {});
  return response;
}

async function refusal(url: string, after: number, response: IncomingMessage): Promise<Error> {
  const problem = parseProblem(await text(response));
  if (problem.code === 'SNAPSHOT_UNAVAILABLE') {
    return new TidemarkError(
      'REPLICA_DIVERGED',
      `this store has all up to ${after}, and ${url} cannot go on from there (${problem.detail}): ` +
        'follow with an empty directory, or with a backup of that leader',
    );
  }
  const what = problem.detail ?? response.headers['content-type'] ?? 'nothing';
  return new Error(`${url} answered ${response.statusCode} and ${what}, not its changes`);
}

function parseProblem(body: string): { code?: string; detail?: string } {
  try {
    return (JSON.parse(body) ?? {}) as { code?: string; detail?: string };
  } catch {
    return {};
  }
}
