import type { z } from 'zod';

import type { LookupAnswer, lookupBody } from '../api/schemas/lookup.ts';
import type { PushAnswer } from '../api/schemas/push.ts';
import type { TimelineAnswer, timelineBody } from '../api/schemas/timeline.ts';
import type { FeatureViewAnswer, viewBody } from '../api/schemas/views.ts';
import { ServerRefused, ServerUnreachable, UsageError } from './failure.ts';
export type TimelineRequest = z.input<typeof timelineBody>;

/** The spine's own columns, and those of the join. */
export type JoinedRow = Record<string, unknown>;

/** Tidemark's REST interface, as far as the CLI uses it. */
export class Client {
  private base: string;

  /** Throws UsageError when `url` is not the address of a web server. */
  constructor(url: string) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new UsageError(
        `the server is ${JSON.stringify(url)}, expected http://HOST:PORT; see --url`,
      );
    }
    this.base = url.replace(/\/+$/, '');
  }

  async views(): Promise<FeatureViewAnswer[]> {
    const { feature_views } = await this.json<{ feature_views: FeatureViewAnswer[] }>(
      '/v1/feature-views',
    );
    return feature_views;
  }

  async putView(view: string, settings: z.input<typeof viewBody>): Promise<FeatureViewAnswer> {
    return this.json(`/v1/feature-views/${encodeURIComponent(view)}`, {
      method: 'PUT',
      body: JSON.stringify(settings),
    });
  }

  /** `records` as NDJSON, passed on as they were written. */
  async push(query: URLSearchParams, records: Buffer<ArrayBuffer> | string): Promise<PushAnswer> {
    return this.json(`/v1/push?${query.toString()}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: records,
    });
  }

  async lookup(request: z.input<typeof lookupBody>): Promise<LookupAnswer> {
    return this.json('/v1/lookup', { method: 'POST', body: JSON.stringify(request) });
  }

  async timeline(request: TimelineRequest): Promise<TimelineAnswer> {
    return this.json('/v1/timeline', { method: 'POST', body: JSON.stringify(request) });
  }

  /** A training join of a spine in NDJSON: its rows with what was joined to them. */
  async join(query: URLSearchParams, spine: string): Promise<JoinedRow[]> {
    const response = await this.send(`/v1/get-historical-features?${query.toString()}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: spine,
    });
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    const rows = lines.map((line) => JSON.parse(line) as JoinedRow);
    // Without its summary an answer is not whole.
    const last = rows.pop();
    if (last === undefined || !('__summary' in last)) throw this.strange('half a join');
    return rows;
  }

  private async json<T>(path: string, request: RequestInit = {}): Promise<T> {
    const response = await this.send(path, {
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      ...request,
    });
    const answer = await readJson(response);
    if (answer === undefined) throw this.strange(`${response.status} and no JSON`);
    return answer as T;
  }

  private async send(path: string, request: RequestInit): Promise<Response> {
    const response = await fetch(`${this.base}${path}`, request).catch((error: unknown) => {
      throw new ServerUnreachable(
        `there is no answer from ${this.base} (${reasonOf(error)}); ` +
          'start a server with "tidemark serve", or name another with --url',
        { cause: error },
      );
    });
    if (response.ok) return response;
    const problem: { code?: unknown; detail?: unknown } | undefined = await readJson(response);
    // A proxy in between may say 502 or 503 in its own words.
    const { code = `HTTP_${response.status}`, detail = response.statusText } = problem ?? {};
    throw new ServerRefused(
      response.status,
      String(code),
      String(detail),
      response.headers.get('retry-after'),
    );
  }

  private strange(what: string): ServerUnreachable {
    return new ServerUnreachable(
      `${this.base} answered with ${what}, as Tidemark does not; is --url right?`,
    );
  }
}

async function readJson(response: Response): Promise<object | undefined> {
  try {
    const value: unknown = await response.json();
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Why fetch failed: what the system said, not that fetch failed. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return 'code' in cause && cause.message === '' ? String(cause.code) : cause.message;
}
