import type { Readable } from 'node:stream';

import type { z } from 'zod';

import { CHANGES_TYPE } from '../api/media.ts';
import type {
  BackfillAnswer,
  backfillBody,
  BackfillPlanAnswer,
  BackfillsAnswer,
} from '../api/schemas/backfills.ts';
import type { BackupAnswer, backupBody } from '../api/schemas/backup.ts';
import type { CompactAnswer, compactBody } from '../api/schemas/compact.ts';
import type {
  DeadLettersAnswer,
  deadLettersBody,
  DropAnswer,
  ReplayAnswer,
} from '../api/schemas/dead-letters.ts';
import type { diffBody } from '../api/schemas/diff.ts';
import type { eraseBody, ErasureAnswer, LiftAnswer, liftBody } from '../api/schemas/erase.ts';
import type { ExplainAnswer, explainBody } from '../api/schemas/explain.ts';
import type {
  ExportAnswer,
  exportBody,
  ExportManifest,
  ExportsAnswer,
} from '../api/schemas/exports.ts';
import type { LookupAnswer, lookupBody } from '../api/schemas/lookup.ts';
import type { PushAnswer } from '../api/schemas/push.ts';
import type {
  AliasesAnswer,
  GatesAnswer,
  HistoryAnswer,
  promoteBody,
  PromotionAnswer,
  whyBody,
} from '../api/schemas/rollout.ts';
import type { ShadowAnswer } from '../api/schemas/shadow.ts';
import type { TimelineAnswer, timelineBody } from '../api/schemas/timeline.ts';
import type { FeatureViewAnswer, viewBody } from '../api/schemas/views.ts';
import { type Frame, readFrames } from '../store/change-frames.ts';
import { parseObject, readLines } from '../timetravel/formats/ndjson.ts';
import { ServerRefused, ServerUnreachable, UsageError } from './failure.ts';
import { fetchPatiently } from './patience.ts';

export type TimelineRequest = z.input<typeof timelineBody>;
export type DeadLetterRequest = z.input<typeof deadLettersBody>;

/** The spine's own columns, and those of the join. */
export type JoinedRow = Record<string, unknown>;

/** One entity that differs. */
export interface Difference {
  entity_id: string;
  change: string;
  cosine_similarity: number | null;
  from: DiffSide;
  to: DiffSide;
}

export interface DiffSide {
  status: string;
  reason: string | null;
  event_timestamp: string | null;
}

export type DiffSummary = Record<
  'entities' | 'added' | 'removed' | 'changed' | 'below_min_distance' | 'unchanged' | 'snapshot',
  number
> & { feature_view: string; version: string };

/** The last line of a diff: that it is whole, or why it is not. */
type DiffEnd =
  | { __summary: DiffSummary }
  | { __error: { status: number; code: string; detail: string } };

export type DiffLine = Difference | DiffEnd;

/** Bytes of one line of a streamed answer, far above any. */
const LINE_BYTES_MAX = 2 ** 24;

const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json' };

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

  async view(name: string): Promise<FeatureViewAnswer> {
    return this.json(`/v1/feature-views/${encodeURIComponent(name)}`);
  }

  async putView(view: string, settings: z.input<typeof viewBody>): Promise<FeatureViewAnswer> {
    return this.json(`/v1/feature-views/${encodeURIComponent(view)}`, {
      method: 'PUT',
      body: JSON.stringify(settings),
    });
  }

  async gates(view: string, version: string): Promise<GatesAnswer> {
    return this.jsonAtLast(`${versionPath(view, version)}/gates`, undefined, 'GET');
  }

  async promoteVersion(
    view: string,
    version: string,
    how: z.input<typeof promoteBody>,
  ): Promise<PromotionAnswer> {
    return this.jsonAtLast(`${versionPath(view, version)}/promote`, how);
  }

  async rollBack(view: string, why: z.input<typeof whyBody>): Promise<AliasesAnswer> {
    const path = `/v1/feature-views/${encodeURIComponent(view)}/rollback`;
    return this.json(path, { method: 'POST', body: JSON.stringify(why) });
  }

  async retire(
    view: string,
    version: string,
    { reason }: z.input<typeof whyBody>,
  ): Promise<AliasesAnswer> {
    const query = reason === undefined ? '' : `?reason=${encodeURIComponent(reason)}`;
    return this.jsonAtLast(`${versionPath(view, version)}${query}`, undefined, 'DELETE');
  }

  async history(view: string): Promise<HistoryAnswer> {
    return this.json(`/v1/feature-views/${encodeURIComponent(view)}/history`);
  }

  async shadow(view: string): Promise<ShadowAnswer> {
    return this.json(`/v1/feature-views/${encodeURIComponent(view)}/shadow`);
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

  async erase(request: z.input<typeof eraseBody>): Promise<ErasureAnswer> {
    return this.json('/v1/erase', { method: 'POST', body: JSON.stringify(request) });
  }

  async liftErasure(request: z.input<typeof liftBody>): Promise<LiftAnswer> {
    return this.json('/v1/erase/lift', { method: 'POST', body: JSON.stringify(request) });
  }

  async erasures(): Promise<ErasureAnswer[]> {
    return (await this.json<{ erasures: ErasureAnswer[] }>('/v1/erasures')).erasures;
  }

  async erasure(id: string): Promise<ErasureAnswer> {
    return this.json(`/v1/erasures/${encodeURIComponent(id)}`);
  }

  async deadLetters(request: Omit<DeadLetterRequest, 'positions'>): Promise<DeadLettersAnswer> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request)) {
      if (value !== undefined) query.set(name, String(value));
    }
    return this.json(`/v1/dead-letters?${query.toString()}`);
  }

  async replayDeadLetters(request: DeadLetterRequest): Promise<ReplayAnswer> {
    return this.jsonAtLast('/v1/dead-letters/replay', request);
  }

  async dropDeadLetters(request: DeadLetterRequest): Promise<DropAnswer> {
    return this.jsonAtLast('/v1/dead-letters/drop', request);
  }

  async compact(request: z.input<typeof compactBody>): Promise<CompactAnswer> {
    return this.jsonAtLast('/v1/compact', request);
  }

  async backup(request: z.input<typeof backupBody>): Promise<BackupAnswer> {
    return this.jsonAtLast('/v1/backup', request);
  }

  async startBackfill(request: z.input<typeof backfillBody>): Promise<BackfillAnswer> {
    return this.json('/v1/backfills', { method: 'POST', body: JSON.stringify(request) });
  }

  async planBackfill(request: z.input<typeof backfillBody>): Promise<BackfillPlanAnswer> {
    return this.jsonAtLast('/v1/backfills', { ...request, plan: true });
  }

  async backfill(id: string): Promise<BackfillAnswer> {
    return this.json(`/v1/backfills/${encodeURIComponent(id)}`);
  }

  /** One page of backfills, the newest first. */
  async backfills(limit: number): Promise<BackfillsAnswer> {
    return this.json(`/v1/backfills?limit=${limit}`);
  }

  /** Cancels a backfill, or forgets one that has ended. */
  async removeBackfill(id: string): Promise<BackfillAnswer> {
    return this.json(`/v1/backfills/${encodeURIComponent(id)}`, {
      method: 'DELETE',
      headers: { accept: 'application/json' },
    });
  }

  async explain(request: z.input<typeof explainBody>): Promise<ExplainAnswer> {
    return this.json('/v1/explain', { method: 'POST', body: JSON.stringify(request) });
  }

  /** The lines of a diff as they come, the last one too. Throws when it is not whole. */
  async *diff(request: z.input<typeof diffBody>): AsyncGenerator<DiffLine> {
    const response = await this.send('/v1/diff', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/x-ndjson' },
      body: JSON.stringify(request),
    });
    let last: DiffLine | undefined;
    try {
      for await (const { bytes, number } of readLines(response.body!, LINE_BYTES_MAX)) {
        last = parseObject(bytes, `line ${number}`) as unknown as DiffLine;
        yield last;
      }
    } catch (error) {
      // A diff that breaks off has said why in its last line.
      if (!isEnd(last)) throw this.strange(`half a diff (${reasonOf(error)})`);
    }
    if (!isEnd(last)) throw this.strange('half a diff');
    if ('__error' in last) {
      const { status, code, detail } = last['__error'];
      throw new ServerRefused(status, code, detail, null);
    }
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

  /** Sends a spine for an export; `type`: the content type that it has. */
  async startExport(query: URLSearchParams, type: string, spine: Readable): Promise<ExportAnswer> {
    const headers = { 'content-type': type, accept: 'application/json' };
    const url = `${this.base}/v1/exports?${query.toString()}`;
    return this.read(
      await this.answerOf(fetchPatiently(url, { method: 'POST', headers, body: spine })),
    );
  }

  /** Starts an export of revisions: no spine is sent. */
  async startRevisions(request: z.input<typeof exportBody>): Promise<ExportAnswer> {
    return this.json('/v1/exports', { method: 'POST', body: JSON.stringify(request) });
  }

  async export(id: string): Promise<ExportAnswer> {
    return this.json(exportPath(id));
  }

  /** One page of exports, the newest first. */
  async exports(limit: number, cursor?: string): Promise<ExportsAnswer> {
    const query = new URLSearchParams({ limit: String(limit), ...(cursor && { cursor }) });
    return this.json(`/v1/exports?${query.toString()}`);
  }

  /** Cancels an export, or forgets one that has ended. */
  async removeExport(id: string): Promise<ExportAnswer> {
    return this.json(exportPath(id), {
      method: 'DELETE',
      headers: { accept: 'application/json' },
    });
  }

  async exportManifest(id: string): Promise<ExportManifest> {
    return this.json(`${exportPath(id)}/manifest`);
  }

  /** A file of an export from a byte on; see `ExportManifest` for its path and its SHA-256. */
  async exportFile(id: string, path: string, from: number, sha256: string): Promise<Response> {
    const names = path.split('/').map(encodeURIComponent).join('/');
    const range = { range: `bytes=${from}-`, 'if-range': `"${sha256}"` };
    return this.send(`${exportPath(id)}/files/${names}`, { headers: from === 0 ? {} : range });
  }

  /** What changed after a seq, of a view and with its vectors, as replicas are told. */
  async *changes(view: string, after: number): AsyncGenerator<Frame> {
    const query = new URLSearchParams({ feature_view: view, after: String(after) });
    const response = await this.send(`/v1/changes?${query.toString()}`, {
      headers: { accept: CHANGES_TYPE },
    });
    try {
      for await (const { frame } of readFrames(response.body!)) yield frame;
    } catch (error) {
      throw new ServerUnreachable(
        `${this.base} broke off (${reasonOf(error)}); run it again, and it goes on where it was`,
        { cause: error },
      );
    }
  }

  /** Makes the server, a read replica, a leader. */
  async promote(): Promise<{ snapshot: number }> {
    // Without a body there is nothing to say the type of.
    return this.json('/v1/replica/promote', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
  }

  private async json<T>(path: string, request: RequestInit = {}): Promise<T> {
    return this.read(await this.send(path, { headers: JSON_HEADERS, ...request }));
  }

  /** The same of work that may take hours. */
  private async jsonAtLast<T>(path: string, body?: object, method = 'POST'): Promise<T> {
    const { accept } = JSON_HEADERS;
    const request =
      body === undefined
        ? { method, headers: { accept }, body: '' }
        : { method, headers: JSON_HEADERS, body: JSON.stringify(body) };
    return this.read(await this.answerOf(fetchPatiently(`${this.base}${path}`, request)));
  }

  private async read<T>(response: Response): Promise<T> {
    const answer = await readJson(response);
    if (answer === undefined) throw this.strange(`${response.status} and no JSON`);
    return answer as T;
  }

  private async send(path: string, request: RequestInit): Promise<Response> {
    return this.answerOf(fetch(`${this.base}${path}`, request));
  }

  /** Throws ServerUnreachable, ServerRefused. */
  private async answerOf(asked: Promise<Response>): Promise<Response> {
    const response = await asked.catch((error: unknown) => {
      throw new ServerUnreachable(
        `there is no answer from ${this.base} (${reasonOf(error)}); ` +
          'start a server with "tidemark serve", or name another with --url',
        { cause: error },
      );
    });
    if (response.ok) return response;
    const problem: { code?: unknown; detail?: unknown; gates?: GatesAnswer['gates'] } | undefined =
      await readJson(response);
    // A proxy in between may say 502 or 503 in its own words.
    const { code = `HTTP_${response.status}`, detail = response.statusText } = problem ?? {};
    throw new ServerRefused(
      response.status,
      String(code),
      String(detail),
      response.headers.get('retry-after'),
      problem?.gates,
    );
  }

  private strange(what: string): ServerUnreachable {
    return new ServerUnreachable(
      `${this.base} answered with ${what}, as Tidemark does not; is --url right?`,
    );
  }
}

function exportPath(id: string): string {
  return `/v1/exports/${encodeURIComponent(id)}`;
}

function isEnd(line: DiffLine | undefined): line is DiffEnd {
  return line !== undefined && ('__summary' in line || '__error' in line);
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

function versionPath(view: string, version: string): string {
  return `/v1/feature-views/${encodeURIComponent(view)}/versions/${encodeURIComponent(version)}`;
}
