import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';

import { expect, onTestFinished, test } from 'vitest';

import { TidemarkClient, TidemarkUnreachable } from '../../src/client/index.ts';
import { minutesAgo, startWithJob } from '../api/harness.ts';
import { tempDirectory } from '../support/temp.ts';

/** A certificate that vouches for itself and for this name, and its key, as PEM. */
function certificateFor(name: string): { key: string; cert: string } {
  const directory = tempDirectory();
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const names = ['-subj', '/CN=tidemark', '-addext', `subjectAltName=${name}`];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  const files = ['-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', ...made, ...names, ...files], { stdio: 'pipe' });
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

/** Takes TLS off what goes to a server, as a load balancer does; how much came through it. */
async function startProxy(to: string, own: { key: string; cert: string }) {
  let received = 0;
  const server = createServer(own, (socket) => {
    const inner = connect(Number(new URL(to).port), '127.0.0.1');
    socket.on('data', ({ byteLength }: Buffer) => (received += byteLength));
    socket.on('error', () => inner.destroy());
    inner.on('error', () => socket.destroy());
    socket.pipe(inner).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { port, received: () => received };
}

function clientOf(url: string, ca?: string): TidemarkClient {
  const options = { url, random: () => 0, retriesMax: 0 };
  const client = new TidemarkClient({ ...options, ...(ca !== undefined && { ca }) });
  onTestFinished(() => client.close());
  return client;
}

test('the client asks over TLS, of a server whose certificate it was given, by address and by name', async () => {
  const api = await startWithJob();
  const own = certificateFor('IP:127.0.0.1,DNS:localhost');
  const { port } = await startProxy(api.url, own);
  const vector = Array.from({ length: 2 }, (_, at) => at + 0.5);
  const records = Array.from({ length: 5_000 }, (_, at) => ({
    entity_id: at,
    event_timestamp: minutesAgo(1),
    vector,
  }));
  const client = clientOf(`https://127.0.0.1:${port}`, own.cert);
  await client.push({ feature_view: 'job', records });
  const entity_ids = records.map(({ entity_id }) => entity_id);
  for (const each of [client, clientOf(`https://localhost:${port}`, own.cert)]) {
    using answer = await each.lookup({ lookups: [{ feature_view: 'job', entity_ids }] });
    const { vectors } = answer.result('job');
    expect(vectors).toEqual(Float32Array.from({ length: 10_000 }, (_, at) => vector[at % 2]!));
  }
});

test.each([
  ['that nobody vouches for', 'IP:127.0.0.1', false, 'self-signed certificate'],
  ['of another server', 'DNS:elsewhere.example', true, "IP: 127.0.0.1 is not in the cert's list"],
])(
  'a server with a certificate %s is refused, and is told nothing',
  async (_what, name, isGiven, why) => {
    const api = await startWithJob();
    const own = certificateFor(name);
    const { port, received } = await startProxy(api.url, own);
    const client = clientOf(`https://127.0.0.1:${port}`, isGiven ? own.cert : undefined);
    const failure: unknown = await client.get('job', 'a').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TidemarkUnreachable);
    expect((failure as Error).message).toContain(why);
    expect(received()).toBe(0);
  },
);
