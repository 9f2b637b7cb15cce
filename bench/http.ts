/**
 * Latest lookups over HTTP, server and client in two processes of one machine: what a ranking
 * service sees. Run with `npm run bench:http`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { percentile, printGround, seeded } from './measure.ts';

const ENTITIES = 20_000;
const IDS = 500;
const DIM = 384;
const SECONDS = 4;

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Sends and reads one request to its end; its body's bytes. */
async function send(
  url: string,
  path: string,
  body: Buffer,
  headers: Record<string, string>,
): Promise<number> {
  const asked = request(`${url}${path}`, {
    method: 'POST',
    agent,
    headers: { ...headers, 'content-length': body.byteLength },
  });
  asked.end(body);
  const [answer] = await once(asked, 'response');
  if (answer.statusCode >= 300) throw new Error(`${path}: ${answer.statusCode}`);
  let bytes = 0;
  for await (const chunk of answer) bytes += (chunk as Buffer).byteLength;
  return bytes;
}

async function run(title: string, flight: number, ask: () => Promise<number>): Promise<void> {
  for (let warm = 0; warm < 50; warm++) await ask();
  const times: number[] = [];
  let bytes = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: flight }, async () => {
      while (performance.now() < start + SECONDS * 1_000) {
        const before = performance.now();
        bytes = await ask();
        times.push(performance.now() - before);
      }
    }),
  );
  const sorted = Float64Array.from(times).toSorted();
  const rate = Math.round(times.length / ((performance.now() - start) / 1_000));
  const at = (share: number) => percentile(sorted, share).toFixed(2);
  console.log(`| ${title} | ${flight} | ${bytes} | ${rate} | ${at(0.5)} | ${at(0.99)} |`);
}

printGround();
const data = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
const server = spawn(
  process.execPath,
  [join(import.meta.dirname, '../src/cli/main.ts'), 'serve', '--data', data, '--port', '0'],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
let url = '';
for await (const line of createInterface({ input: server.stdout })) {
  url = /"url":"([^"]+)"/.exec(line)?.[1] ?? '';
  if (url !== '') break;
}
const made = await fetch(`${url}/v1/feature-views/job`, {
  method: 'PUT',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({
    entity: 'job',
    join_key: 'job_id',
    version: 'v1',
    dim: DIM,
    dtype: 'float32',
  }),
});
if (made.status !== 201) throw new Error(await made.text());
const random = seeded(5);
for (let from = 0; from < ENTITIES; from += 1_000) {
  const records = Array.from({ length: 1_000 }, (_, at) => ({
    entity_id: `job-${from + at}`,
    event_timestamp: '2026-01-01T00:00:00Z',
    vector: Array.from({ length: DIM }, () => random() - 0.5),
  }));
  const body = Buffer.from(JSON.stringify({ feature_view: 'job', records }));
  await send(url, '/v1/push', body, { 'content-type': 'application/json' });
}
const bodies = Array.from({ length: 64 }, () =>
  Buffer.from(
    JSON.stringify({
      lookups: [
        {
          feature_view: 'job',
          entity_ids: Array.from({ length: IDS }, () => `job-${Math.floor(random() * ENTITIES)}`),
        },
      ],
    }),
  ),
);
let next = 0;
const lookup = (accept: string) => async () =>
  send(url, '/v1/lookup', bodies[next++ % bodies.length]!, {
    'content-type': 'application/json',
    accept,
  });

// What HTTP alone costs: the same bytes, of one buffer that is always there, by the same client.
const constant = Buffer.alloc(IDS * (DIM * 4 + 10));
const bare = createServer((asked, answer) => {
  asked
    .resume()
    .on('end', () =>
      answer.writeHead(200, { 'content-length': constant.byteLength }).end(constant),
    );
});
bare.listen(0, '127.0.0.1');
await once(bare, 'listening');
const bareUrl = `http://127.0.0.1:${(bare.address() as AddressInfo).port}`;

console.log(`${IDS} of ${ENTITIES} ids × ${DIM} float32, ${SECONDS} s a row.\n`);
console.log('| answer | in flight | bytes | requests/s | p50 ms | p99 ms |');
console.log('|---|---|---|---|---|---|');
for (const flight of [1, 8]) {
  await run('safetensors', flight, lookup('application/vnd.safetensors'));
  await run('MessagePack', flight, lookup('application/vnd.msgpack'));
  await run('one constant buffer, in the client’s process', flight, async () =>
    send(bareUrl, '/', bodies[0]!, {}),
  );
}
await run('JSON', 1, lookup('application/json'));

bare.close();
agent.destroy();
server.kill('SIGTERM');
await once(server, 'exit');
rmSync(data, { recursive: true, force: true });
