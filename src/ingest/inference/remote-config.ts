import { createHash } from 'node:crypto';

import { z } from 'zod';

import { TidemarkError } from '../../ground/errors.ts';
import { readSecretFile } from '../secret.ts';
import { MODEL_NAME } from './manifest.ts';

/** An address without a login or a query: it is shown, and what is asked is put behind it. */
const baseUrl = z
  .url({ protocol: /^https?$/ })
  .refine((url) => {
    const { username, password, search, hash } = new URL(url);
    return `${username}${password}${search}${hash}` === '';
  }, 'expected an address without login, query and fragment')
  .transform((url) => url.replace(/\/+$/, ''));

export const remoteModelSchema = z
  .strictObject({
    name: z
      .string()
      .regex(MODEL_NAME, 'expected lower-case letters, digits, ".", "_" and "-"')
      .describe('What views call it; no model of the models folder has this name.'),
    url: baseUrl.describe('Its address up to `/embeddings`, such as `http://tei:8080/v1`.'),
    model: z.string().min(1).describe('What the server calls it.'),
    dim: z.int().min(1).max(8_192).describe('Numbers in a vector.'),
    dimensions: z
      .boolean()
      .default(false)
      .describe('Ask for `dim` as `dimensions`, of a server that cuts Matryoshka vectors.'),
    normalised: z
      .boolean()
      .default(true)
      .describe('Whether vectors have the length 1; one that has not is not taken then.'),
    revision: z
      .string()
      .max(256)
      .default('')
      .describe('What else makes the vectors, such as the weights: another one is another model.'),
    api_key_file: z.string().min(1).optional().describe('A file with the API key alone.'),
    api_key_env: z
      .string()
      .min(1)
      .optional()
      .describe('The environment variable with the API key, in place of `api_key_file`.'),
    batch_texts: z.int().min(1).max(4_096).default(32).describe('Texts of one request.'),
    batch_tokens: z
      .int()
      .min(1)
      .max(10_000_000)
      .default(16_384)
      .describe('Tokens of one request, guessed at four bytes each: texts times the longest.'),
    concurrency: z.int().min(1).max(256).default(4).describe('Requests at once.'),
    timeout_seconds: z.number().min(0.01).max(290).default(60).describe('Of one request.'),
    retries: z
      .int()
      .min(0)
      .max(20)
      .default(3)
      .describe('Further tries of a request that failed, but not by its texts.'),
    circuit_failures: z
      .int()
      .min(1)
      .max(1_000)
      .default(5)
      .describe('Failures in a row after which nothing is sent but a trial now and then.'),
  })
  .refine(
    ({ api_key_file, api_key_env }) => api_key_file === undefined || api_key_env === undefined,
    {
      path: ['api_key_env'],
      error: 'expected either api_key_file or api_key_env',
    },
  );

/** A model that another server runs, which speaks OpenAI's embeddings. */
export type RemoteModel = z.output<typeof remoteModelSchema>;

/**
 * SHA-256, in hex, over what makes the vectors as far as it can be said from here: where the server
 * is, and how it is asked, is no part of it.
 */
export function remoteFingerprint(remote: RemoteModel): string {
  const { model, dim, dimensions, normalised, revision } = remote;
  const makes = ['remote', model, dim, dimensions, normalised, revision];
  return createHash('sha256').update(JSON.stringify(makes)).digest('hex');
}

/** The key as it is now, or undefined where there is to be none. Throws BAD_CONFIG, without it. */
export function readApiKey(
  { name, api_key_file: file, api_key_env: variable }: RemoteModel,
  environment: Record<string, string | undefined>,
): string | undefined {
  if (file === undefined && variable === undefined) return undefined;
  const setting = `remote_models ${name}`;
  const key =
    file === undefined ? environment[variable!] : readSecretFile(`${setting}: api_key_file`, file);
  // What no header can carry would be shown by whoever says that it cannot.
  if (key !== undefined && /^[\x21-\x7e]+$/.test(key)) return key;
  throw new TidemarkError(
    'BAD_CONFIG',
    `${setting}: ${file ?? `the variable ${variable}`} holds no API key, expected one of visible ASCII`,
  );
}
