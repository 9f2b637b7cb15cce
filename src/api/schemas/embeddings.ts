import { z } from 'zod';

import type { ErrorCode } from '../../ground/errors.ts';
import { JSON_TYPE } from '../media.ts';
import { statusOf } from '../problem.ts';

export const embeddingsBody = z
  .strictObject({
    // Looked at by hand: of a union zod says no more than that nothing of it fits.
    input: z.unknown().meta({
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
      description:
        'A text, or several; 2,048 unless configured. Token ids are not taken: a model’s tokeniser is its own.',
    }),
    model: z
      .string()
      .describe(
        'The name of a model; or a model version as `view@version`, for the model that it is bound to. Its prompt is not applied.',
      ),
    encoding_format: z
      .enum(['float', 'base64'])
      .default('float')
      .describe('Numbers, or little-endian float32 as base64.'),
    dimensions: z
      .int()
      .min(1)
      .optional()
      .describe(
        'Of a model that is declared Matryoshka, one of its dims: vectors are cut to it and brought to length 1 again.',
      ),
    user: z.string().optional().describe('Not looked at.'),
  })
  .meta({ id: 'Embeddings', examples: [{ input: ['sea salt'], model: 'hashing' }] });
export type EmbeddingsBody = z.output<typeof embeddingsBody>;

export const embeddingsAnswer = z
  .strictObject({
    object: z.literal('list'),
    data: z.array(
      z.strictObject({
        object: z.literal('embedding'),
        index: z.int().min(0).describe('Of the text in the input.'),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    model: z.string().describe('As it was asked for.'),
    usage: z
      .strictObject({ prompt_tokens: z.int(), total_tokens: z.int() })
      .describe('Tokens that the model read; of a remote model they are guessed.'),
  })
  .meta({ id: 'EmbeddingsAnswer' });
export type EmbeddingsAnswer = z.output<typeof embeddingsAnswer>;

const openaiError = z
  .strictObject({
    error: z.strictObject({
      message: z.string().describe('What was expected, for this request.'),
      type: z.enum(['invalid_request_error', 'rate_limit_error', 'server_error']),
      param: z.string().nullable().describe('The field of the body that it is about.'),
      code: z.string().describe('Stable, and the same as in the problems of other routes.'),
    }),
  })
  .meta({ id: 'OpenaiError', description: 'An error as clients of OpenAI read it.' });
export type OpenaiError = z.output<typeof openaiError>;

interface OpenaiErrorAnswer {
  description: string;
  content: { [JSON_TYPE]: { schema: typeof openaiError } };
}

/** The error answers of the route: each status with the codes that it comes with. */
export function openaiErrors(...codes: ErrorCode[]): Record<number, OpenaiErrorAnswer> {
  const byStatus = Map.groupBy(codes, statusOf);
  return Object.fromEntries(
    [...byStatus].map(([status, of]) => [
      status,
      {
        description: of.map((code) => `\`${code}\``).join(', '),
        content: { [JSON_TYPE]: { schema: openaiError } },
      },
    ]),
  );
}
