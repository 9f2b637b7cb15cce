import { TidemarkError } from '../ground/errors.ts';
import type { ExportStatus } from '../timetravel/exports/asked.ts';
import { isExportId } from '../timetravel/exports/record.ts';
import { mediaTypeOf } from '../timetravel/formats/encodings.ts';
import { askedInBody, askedInQuery, refuseIdle } from './asked-export.ts';
import { exportAnswerOf } from './export-answer.ts';
import { sendFile } from './file-range.ts';
import { JSON_TYPE, requireBody, streamBodies } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import {
  exportAnswer,
  type ExportAnswer,
  exportBody,
  exportFilePath,
  exportPath,
  exportQuery,
  exportsAnswer,
  exportsQuery,
  fileBytes,
  manifestAnswer,
} from './schemas/exports.ts';
import { spineBodies } from './schemas/historical.ts';
import { formatOfBody, SPINE_BODIES } from './spines.ts';

const DESCRIPTION =
  'Joins a spine to the vectors in force at each of its rows’ moments, as `POST /v1/get-historical-features` does, into files: for spines and answers of any length. ' +
  'The spine is the body, with the parameters in the query; or a file on the server’s disk, with the parameters beside it in JSON. ' +
  'All rows are answered at one snapshot. An export survives the server’s restart, and goes on where it was.';

export async function exportRoutes(server: ApiServer, context: Context): Promise<void> {
  const { exports } = context;
  streamBodies(server, SPINE_BODIES);
  const told = (status: ExportStatus): ExportAnswer =>
    exportAnswerOf(status, exports.expires(status.record));

  server.post(
    '/v1/exports',
    {
      config: { consumes: [...SPINE_BODIES, JSON_TYPE], produces: [JSON_TYPE] },
      preValidation: [requireBody, refuseIdle],
      schema: {
        tags: ['training'],
        summary: 'Join a spine to vectors, into files',
        description: DESCRIPTION,
        querystring: exportQuery,
        body: { content: { [JSON_TYPE]: { schema: exportBody }, ...spineBodies } },
        response: {
          202: answer('It was taken in, and is told of at `Location`.', exportAnswer),
          ...problems(
            'BAD_REQUEST',
            'BAD_TIMESTAMP',
            'BAD_DURATION',
            'NAME_COLLISION',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'SNAPSHOT_UNAVAILABLE',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'OVERLOADED',
            'STORE_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const format = formatOfBody(request);
      const asked =
        format === undefined
          ? askedInBody(request, context)
          : askedInQuery(request, request.query, format, context);
      const status = await exports.submit(asked);
      void reply.code(202).header('location', `/v1/exports/${status.record.id}`);
      return told(status);
    },
  );

  server.get(
    '/v1/exports',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['training'],
        summary: 'List exports',
        description:
          'The newest first. Those that ended are listed until they have expired for long.',
        querystring: exportsQuery,
        response: {
          200: answer('The exports, the newest first.', exportsAnswer),
          ...problems('BAD_REQUEST'),
        },
      },
    },
    async ({ query: { limit, cursor } }) => {
      if (cursor !== undefined && !isExportId(cursor)) {
        throw new TidemarkError(
          'BAD_REQUEST',
          'the cursor is none that a page of exports came with; start without one',
        );
      }
      const found = exports.list(limit + 1, cursor);
      const page = found.slice(0, limit);
      return {
        exports: page.map(told),
        next: found.length > limit ? page.at(-1)!.record.id : null,
      };
    },
  );

  server.get(
    '/v1/exports/:id',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['training'],
        summary: 'How far an export is',
        description:
          'Its state, its question, rows and bytes done, how fast it goes, and, where the rows of its spine are known, how long it will take.',
        params: exportPath,
        response: {
          200: answer('The export as it is now.', exportAnswer),
          ...problems('EXPORT_NOT_FOUND'),
        },
      },
    },
    async ({ params: { id } }) => told(exports.mustGet(id)),
  );

  server.delete(
    '/v1/exports/:id',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['training'],
        summary: 'Cancel an export, or remove one that has ended',
        description:
          'Answers when its files are gone. One that was cancelled is still told of, and removed when it is deleted again; one that ended before that was heard is removed.',
        params: exportPath,
        response: {
          200: answer('The export as it was last.', exportAnswer),
          ...problems('EXPORT_NOT_FOUND'),
        },
      },
    },
    async ({ params: { id } }) => told(await exports.remove(id)),
  );

  server.get(
    '/v1/exports/:id/manifest',
    {
      config: { produces: [JSON_TYPE] },
      schema: {
        tags: ['training'],
        summary: 'What an export is, and its files',
        description:
          'There when the export is done: its resolved question and snapshot, counts by status and reason, and each file with its SHA-256.',
        params: exportPath,
        response: {
          200: answer('The manifest.', manifestAnswer),
          ...problems('EXPORT_NOT_FOUND', 'EXPORT_NOT_DONE'),
        },
      },
    },
    async ({ params: { id } }) => exports.manifest(id),
  );

  server.route({
    method: ['GET', 'HEAD'],
    url: '/v1/exports/:id/files/:folder/:file',
    schema: {
      tags: ['training'],
      summary: 'A file of an export',
      description:
        'Its `ETag` is its SHA-256. A `Range` of one part is answered with 206, so that a download that broke off goes on where it was; one beyond the end with 416, and what `If-None-Match` names with 304. HEAD has no ranges.',
      params: exportFilePath,
      response: {
        200: { description: 'The file.', content: fileContent },
        206: { description: 'The range that was asked for.', content: fileContent },
        ...problems('EXPORT_NOT_FOUND', 'EXPORT_NOT_DONE'),
      },
    },
    handler: async (request, reply) => {
      const { id, folder, file } = request.params;
      const { files, format, vector_format } = await exports.manifest(id);
      const path = `${folder}/${file}`;
      const found = files.find((each) => each.path === path);
      if (found === undefined) {
        throw new TidemarkError('EXPORT_NOT_FOUND', `the export ${id} has no file ${path}`);
      }
      const isPart = found.feature_view === undefined;
      return sendFile(request, reply, {
        path: exports.pathOf(id, path),
        bytes: found.bytes,
        sha256: found.sha256,
        type: mediaTypeOf(isPart ? format : vector_format!),
      });
    },
  });
}

const fileContent = { 'application/octet-stream': { schema: fileBytes } };
