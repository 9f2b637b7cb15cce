/**
 * A fastify server that answers every GET and POST with the bytes of a file, and parses no body:
 * what HTTP costs at least.
 *
 *     node bench/serving/constant.ts <file> <content type>
 */
import { readFileSync } from 'node:fs';

import fastify from 'fastify';

const [path, type] = process.argv.slice(2) as [string, string];
const bytes = readFileSync(path);
const server = fastify();
server.removeAllContentTypeParsers();
server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
server.all('/*', (_request, reply) => reply.type(type).send(bytes));
console.log(`listens at ${await server.listen({ port: 0 })}`);
