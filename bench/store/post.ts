import { type Agent, type IncomingMessage, request } from 'node:http';

/** Sends a body over a connection of the agent; the whole answer. Throws where it is not 200. */
export async function post(
  agent: Agent,
  url: string,
  body: Uint8Array,
  headers: Record<string, string>,
): Promise<Buffer> {
  const told = Promise.withResolvers<Buffer>();
  const all = { ...headers, 'content-length': body.byteLength };
  const asked = request(url, { method: 'POST', agent, headers: all }, (answer) => {
    read(answer).then(told.resolve, told.reject);
  });
  asked.once('error', told.reject);
  asked.end(body);
  return told.promise;
}

async function read(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = await answer.toArray();
  const bytes = Buffer.concat(chunks);
  if (answer.statusCode === 200) return bytes;
  throw new Error(`${answer.statusCode} ${bytes.toString()}`);
}
