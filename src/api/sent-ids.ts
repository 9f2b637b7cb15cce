import type { FastifySchemaCompiler } from 'fastify';
import { validatorCompiler } from 'fastify-type-provider-zod';
import type { FastifyRouteSchemaDef } from 'fastify/types/schema.js';
import type { ZodType } from 'zod';

import type { TidemarkError } from '../ground/errors.ts';
import { takeApart } from './apart.ts';
import type { AskedIds } from './asked-ids.ts';
import { JSON_TYPE, parseJson } from './media.ts';
import type { ApiServer } from './route.ts';

/** What requests have beside their ids is mostly the same, and short. */
const KNOWN_MAX = 256;
const KNOWN_CHARS_MAX = 1_024;

/** A body that fits its schema, its ids read apart. */
class Checked {
  readonly body: unknown;

  constructor(body: unknown) {
    this.body = body;
  }
}

/**
 * The route takes JSON whose ids are read without a text each: see `takeApart`. What is left of a
 * body is checked once for all requests that have the same. Gives the compiler for the route's
 * schemas. `place`: the body of `schema` with its lists; each of them stands there as the list of
 * its number alone.
 */
export function takeJsonWithIds<T>(
  server: ApiServer,
  schema: ZodType<T>,
  place: (body: T, listOf: (placed: AskedIds) => AskedIds) => unknown,
): FastifySchemaCompiler<unknown> {
  const known = new Map<string, T>();

  function check(rest: string): T | undefined {
    const before = known.get(rest);
    if (before !== undefined) return before;
    const checked = schema.safeParse(JSON.parse(Buffer.from(rest, 'latin1').toString('utf8')));
    if (!checked.success) return undefined;
    if (rest.length <= KNOWN_CHARS_MAX) {
      if (known.size === KNOWN_MAX) known.clear();
      known.set(rest, checked.data);
    }
    return checked.data;
  }

  function read(bytes: Buffer): unknown {
    const apart = takeApart(bytes);
    const body = apart && checkSafely(apart.rest);
    if (apart === undefined || body === undefined) return parseJson(bytes);
    const { lists } = apart;
    return new Checked(place(body, (placed) => lists[(placed as readonly number[])[0]!]!));
  }

  /** What is wrong is said of the whole body, by who reads it whole. */
  function checkSafely(rest: string): T | undefined {
    try {
      return check(rest);
    } catch {
      return undefined;
    }
  }

  server.removeContentTypeParser(JSON_TYPE);
  server.addContentTypeParser<Buffer>(JSON_TYPE, { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, read(body));
    } catch (error) {
      done(error as TidemarkError);
    }
  });
  return (route) => {
    const whole = validatorCompiler(route as FastifyRouteSchemaDef<ZodType>);
    return (data: unknown) => (data instanceof Checked ? { value: data.body } : whole(data));
  };
}

/** A body with lists of ids, whichever way they were read. */
export type WithIds<T extends { entity_ids: unknown }> = Omit<T, 'entity_ids'> & {
  entity_ids: AskedIds;
};
