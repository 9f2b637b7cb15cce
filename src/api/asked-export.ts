import { Readable } from 'node:stream';

import type { FastifyRequest } from 'fastify';

import { MICROS_MAX } from '../ground/time.ts';
import type { AskedExport } from '../timetravel/exports/asked.ts';
import type { SpineFormat } from '../timetravel/spine/window.ts';
import { type AskedJoin, parseColumnTypes, planJoin, planRevisions } from './join-plan.ts';
import { SchemaMisfit } from './problem.ts';
import type { Context } from './route.ts';
import type { ExportBody, ExportQuery } from './schemas/exports.ts';
import { spineFile } from './spine-file.ts';
import { readBody } from './spines.ts';

/** What has a meaning only with a spine. */
const OF_JOIN = [
  'spine',
  'feature_views',
  'id_columns',
  'timestamp_column',
  'column_types',
  'known_timestamps',
  'created_timestamps',
  'strict',
  'alias_as_of',
  'boundary',
  'knowledge',
  'max_age',
  'order',
] satisfies (keyof ExportBody)[];

/**
 * Throws BAD_REQUEST for what would be without effect. It looks before the schema fills in what was
 * left out: behind that nobody can tell what was said.
 */
export async function refuseIdle({ body, query }: FastifyRequest): Promise<void> {
  const isSpine = body instanceof Readable;
  const said = isSpine ? query : body;
  if (typeof said !== 'object' || said === null) return;
  const where = isSpine ? 'query' : 'body';
  const errors: { path: string; message: string }[] = [];
  if (!isSpine && 'revisions' in said) {
    for (const name of OF_JOIN) {
      // Null is as good as leaving out.
      if (((said as ExportBody)[name] ?? undefined) === undefined) continue;
      const message = 'is of a join: leave it out, or the revisions';
      errors.push({ path: `${where}/${name}`, message });
    }
  }
  if ('vector_format' in said && !('vectors' in said && said.vectors === 'ref')) {
    const message = 'is of vectors=ref: say that, too, or leave it out';
    errors.push({ path: `${where}/vector_format`, message });
  }
  if (errors.length > 0) throw new SchemaMisfit('BAD_REQUEST', errors);
}

/** An export whose spine is a file on our disk, or that has none. */
export function askedInBody(request: FastifyRequest, context: Context): AskedExport {
  if (request.url.includes('?')) throw misfit('query', 'with a body of JSON, all is said in there');
  const { spine, revisions, feature_views, ...asked } = request.body as ExportBody;
  if (revisions !== undefined) return askedRevisions(asked, revisions, context);
  if (spine === undefined) throw misfit('body/spine', 'is missing; or say revisions');
  if (feature_views === undefined) throw misfit('body/feature_views', 'is missing');
  const place = spineFile(spine.path, spine.format, context.spineDirectories);
  return joined({ feature_views, ...asked }, place, context);
}

/** An export whose spine is the body. */
export function askedInQuery(
  request: FastifyRequest,
  { feature_views, ...asked }: ExportQuery,
  format: SpineFormat,
  context: Context,
): AskedExport {
  if (feature_views === undefined) throw misfit('query/feature_views', 'is missing');
  return joined({ feature_views, ...asked }, { format, body: readBody(request) }, context);
}

function misfit(path: string, message: string): SchemaMisfit {
  return new SchemaMisfit('BAD_REQUEST', [{ path, message }]);
}

type Spine = Exclude<AskedExport['rows'], { revisions: object }>;

function joined(
  asked: AskedJoin & AskedFiles,
  spine: DistributiveOmit<Spine, 'columnTypes'>,
  { store, limits }: Context,
): AskedExport {
  const { format, vectors, order, vector_format: vectorFormat } = asked;
  const plan = planJoin(asked, { format, vectors, order }, store, limits);
  return {
    plan,
    vectorFormat,
    rows: { ...spine, columnTypes: parseColumnTypes(asked.column_types, spine.format) },
  };
}

function askedRevisions(
  asked: Omit<ExportBody, 'spine' | 'revisions' | 'feature_views'>,
  { feature_view, version, from, to }: NonNullable<ExportBody['revisions']>,
  { store }: Context,
): AskedExport {
  if ((from ?? -MICROS_MAX) > (to ?? MICROS_MAX)) {
    throw misfit('body/revisions/to', 'is before from: no event time lies between them');
  }
  const { format, vectors, vector_format: vectorFormat } = asked;
  const files = { format, vectors, order: 'spine' as const };
  return {
    plan: planRevisions({ ...asked, feature_view, version }, files, store),
    vectorFormat,
    rows: { revisions: { from: from ?? -MICROS_MAX, to: to ?? MICROS_MAX } },
  };
}

type AskedFiles = Pick<
  ExportQuery,
  'format' | 'vectors' | 'order' | 'vector_format' | 'column_types'
>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
