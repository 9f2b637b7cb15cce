import type { FastifyReply, FastifyRequest } from 'fastify';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { settleFailure } from './failures.ts';
import { goneSignal } from './gone.ts';
import type { Limits } from './limits.ts';
import { JSON_TYPE, requireBody } from './media.ts';
import { SchemaMisfit, statusOf } from './problem.ts';
import type { ApiServer, Context } from './route.ts';
import { answer } from './schemas/common.ts';
import {
  type EmbeddingsAnswer,
  embeddingsAnswer,
  type EmbeddingsBody,
  embeddingsBody,
  type OpenaiError,
  openaiErrors,
} from './schemas/embeddings.ts';

const DESCRIPTION =
  'Vectors of texts in the shape of OpenAI’s API, for its clients; nothing is stored. ' +
  'Texts are normalised as those of entities are: NFC, without invisible characters, runs of white space as one space or line break. ' +
  'All texts have a vector in the answer, or the request fails. Under load it is refused with 429 and `Retry-After`.';

export async function embeddingRoutes(server: ApiServer, context: Context): Promise<void> {
  const { limits, embed, store } = context;
  server.post(
    '/v1/embeddings',
    {
      config: { produces: [JSON_TYPE] },
      preValidation: requireBody,
      errorHandler(error, request, reply) {
        void sendOpenaiError(error, request, reply, limits);
      },
      schema: {
        tags: ['models'],
        summary: 'Embed texts',
        description: DESCRIPTION,
        body: embeddingsBody,
        response: {
          200: answer('A vector for each text, in their order.', embeddingsAnswer),
          ...openaiErrors(
            'BAD_REQUEST',
            'BAD_INPUT',
            'EMPTY_TEXT',
            'BAD_VECTOR',
            'INFERENCE_FAILED',
            'MODEL_INVALID',
            'NO_MODEL',
            'VIEW_NOT_FOUND',
            'VERSION_NOT_FOUND',
            'NOT_ACCEPTABLE',
            'MODEL_CHANGED',
            'MODEL_DRIFTED',
            'LIMIT_EXCEEDED',
            'UNSUPPORTED_MEDIA_TYPE',
            'OVERLOADED',
            'INTERNAL',
            'MODEL_UNAVAILABLE',
            'SHUTTING_DOWN',
            'UNDER_PRESSURE',
            'DEADLINE_EXCEEDED',
          ),
        },
      },
    },
    async ({ body }, reply): Promise<EmbeddingsAnswer> => {
      const texts = textsOf(body.input, limits);
      const { vectors, dim, tokens } = await embed({
        model: modelOf(body.model, store),
        texts,
        dimensions: body.dimensions,
        signal: goneSignal(reply),
      });
      return {
        object: 'list',
        data: texts.map((_, index) => ({
          object: 'embedding',
          index,
          embedding: encode(vectors.subarray(index * dim, (index + 1) * dim), body.encoding_format),
        })),
        model: body.model,
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    },
  );
}

function encode(
  vector: Float32Array,
  format: EmbeddingsBody['encoding_format'],
): number[] | string {
  if (format === 'float') return [...vector];
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');
}

/** Throws BAD_REQUEST, LIMIT_EXCEEDED. */
function textsOf(input: unknown, { embedding_texts, embedding_chars }: Limits): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  if (texts.length === 0) throw misfit('expected one text or more');
  if (texts.length > embedding_texts) {
    throw overLimit(`${texts.length} texts`, 'embedding_texts', embedding_texts);
  }
  let chars = 0;
  for (const [at, text] of texts.entries()) {
    if (typeof text === 'string') {
      chars += text.length;
      continue;
    }
    const place = Array.isArray(input) ? `the item ${at} is ` : 'got ';
    const isTokens = typeof text === 'number' || Array.isArray(text);
    throw misfit(
      `${place}${excerpt(text)}, expected ${isTokens ? 'text: token ids are not taken, since each model has a tokeniser of its own' : 'a text'}`,
    );
  }
  if (chars > embedding_chars) {
    throw overLimit(`${chars} characters`, 'embedding_chars', embedding_chars);
  }
  return texts as string[];
}

function misfit(message: string): TidemarkError {
  return new SchemaMisfit('BAD_REQUEST', [{ path: 'body/input', message }]);
}

function overLimit(got: string, limit: keyof Limits, most: number): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `the input has ${got}, more than the limit ${limit} of ${most}; send less at once`,
  );
}

/** A model's name cannot have an @. Throws VIEW_NOT_FOUND, VERSION_NOT_FOUND. */
function modelOf(
  name: string,
  { catalogue }: Context['store'],
): Parameters<Context['embed']>[0]['model'] {
  const [view, version, ...rest] = name.split('@');
  if (version === undefined || rest.length > 0) return { name };
  return { view: view!, version: catalogue.mustGetVersion(catalogue.mustGetView(view!), version) };
}

function sendOpenaiError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  limits: Limits,
): FastifyReply {
  const known = settleFailure(error, request, reply, limits);
  const status = statusOf(known.code);
  const type =
    status >= 500 ? 'server_error' : status === 429 ? 'rate_limit_error' : 'invalid_request_error';
  const body: OpenaiError = {
    error: { message: known.message, type, param: paramOf(known), code: known.code },
  };
  // Where such clients look for the id by which the log has the request.
  return reply.header('x-request-id', request.id).type(JSON_TYPE).send(body);
}

/** Which field of the body an error is about, where it says so. */
function paramOf(error: TidemarkError): string | null {
  if (error instanceof SchemaMisfit) return error.errors[0]!.path.split('/')[1] ?? null;
  return /^(input|dimensions)\b/.exec(error.message)?.[1] ?? null;
}
