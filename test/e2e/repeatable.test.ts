import { expect, test } from 'vitest';

import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);

function at(day: number): string {
  return new Date(START + day * DAY).toISOString();
}

async function pushDays(server: ServerProcess, from: number, to: number, mark: number) {
  const records = Array.from({ length: to - from }, (_, day) =>
    ['a', 'b', 'c'].map((entity_id) => ({
      entity_id,
      event_timestamp: at(from + day),
      ...(entity_id === 'c' && day % 3 === 2 ? { deleted: true } : { vector: [mark, from + day] }),
    })),
  ).flat();
  const { snapshot } = await server.ask<{ snapshot: number }>('POST', '/v1/push', {
    feature_view: 'job',
    known: 'event',
    records,
  });
  return snapshot;
}

const SPINE = Array.from({ length: 200 }, (_, row) =>
  JSON.stringify({ job_id: 'abcd'[row % 4], event_timestamp: at((row * 7) % 60), row }),
).join('\n');

async function join(server: ServerProcess, snapshot: number): Promise<string> {
  const answer = await fetch(
    `${server.url}/v1/get-historical-features?feature_views=job&at_snapshot=${snapshot}`,
    { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: SPINE },
  );
  expect(answer.status).toBe(200);
  return answer.text();
}

async function lookup(server: ServerProcess, snapshot: number): Promise<Buffer> {
  const answer = await fetch(`${server.url}/v1/lookup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/vnd.safetensors' },
    body: JSON.stringify({
      lookups: [{ feature_view: 'job', entity_ids: ['a', 'b', 'c', 'd'] }],
      at_snapshot: snapshot,
    }),
  });
  expect(answer.status).toBe(200);
  return Buffer.from(await answer.arrayBuffer());
}

test('a join and a lookup at a snapshot have the same bytes after later and late writes, a compaction and a restart (A9)', async () => {
  const data = tempDirectory();
  const server = await ServerProcess.start(data);
  const view = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
  await server.ask('PUT', '/v1/feature-views/job', view);
  const snapshot = await pushDays(server, 0, 40, 1);
  const joined = await join(server, snapshot);
  const looked = await lookup(server, snapshot);
  expect(joined).toContain('"__summary"');
  // What comes after, and corrections and late rows in the midst of what is there.
  await pushDays(server, 40, 60, 2);
  await pushDays(server, 0, 30, 3);
  expect(await join(server, snapshot)).toBe(joined);
  expect(await lookup(server, snapshot)).toEqual(looked);
  await server.ask('POST', '/v1/compact', {});
  expect(await join(server, snapshot)).toBe(joined);
  expect(await server.terminate()).toBe(0);
  const again = await ServerProcess.start(data);
  expect(await join(again, snapshot)).toBe(joined);
  expect(await lookup(again, snapshot)).toEqual(looked);
});

test('a writer reads its own write, or hears that it cannot yet (A9)', async () => {
  const server = await ServerProcess.start(tempDirectory());
  const view = { entity: 'job', join_key: 'job_id', version: 'v1', dim: 2, dtype: 'float32' };
  await server.ask('PUT', '/v1/feature-views/job', view);
  const snapshot = await pushDays(server, 0, 1, 1);
  const ask = async (min_snapshot: number) =>
    server.send('POST', '/v1/lookup', {
      lookups: [{ feature_view: 'job', entity_ids: ['a'] }],
      min_snapshot,
    });
  expect(await ask(snapshot)).toMatchObject({
    status: 200,
    body: { results: [{ vectors: [[1, 0]] }] },
  });
  expect(await ask(snapshot + 1_000_000)).toMatchObject({
    status: 409,
    body: { code: 'SNAPSHOT_UNAVAILABLE' },
  });
});
