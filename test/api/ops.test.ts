import { expect, test } from 'vitest';

import { minutesAgo, pushTo, startApi, startWithJob } from './harness.ts';

test('a process that lives says so', async () => {
  const api = await startApi();
  const { status, body } = await api.send('GET', '/healthz');
  expect([status, body]).toEqual([200, { status: 'ok' }]);
});

test('a process is ready when all its checks are, and says which one is not', async () => {
  const kafka = { ok: false, message: 'the broker does not answer', lag: 7 };
  let ready = true;
  const api = await startApi({
    readiness: () => ({ ready, checks: { store: { ok: true }, ...(!ready && { kafka }) } }),
  });
  const before = await api.send('GET', '/readyz');
  expect([before.status, before.body]).toEqual([200, { ready, checks: { store: { ok: true } } }]);
  ready = false;
  const after = await api.send('GET', '/readyz');
  expect(after.status).toBe(503);
  expect(after.body).toEqual({ ready, checks: { store: { ok: true }, kafka } });
});

test('metrics count requests by route, rows by outcome and status, and what is stored', async () => {
  const api = await startWithJob();
  await pushTo(api, [
    { entity_id: 'a', event_timestamp: minutesAgo(1), vector: [1, 2] },
    { entity_id: 'b', event_timestamp: minutesAgo(1), vector: [1, 2] },
    { entity_id: 'b', event_timestamp: 'never', vector: [1, 2] },
  ]);
  for (const id of ['a', 'b', 'secret-id']) {
    await api.send('GET', `/v1/feature-views/job/entities/${id}`);
  }
  const { status, type, bytes } = await api.send('GET', '/metrics');
  expect([status, type]).toEqual([200, expect.stringContaining('text/plain')]);
  const lines = bytes.toString().split('\n');
  const view = 'feature_view="job"';
  const route = 'route="/v1/feature-views/:view/entities/:entity_id"';
  for (const line of [
    `tidemark_push_rows_total{${view},outcome="latest"} 2`,
    `tidemark_push_rows_total{${view},outcome="rejected"} 1`,
    `tidemark_lookup_rows_total{${view},status="PRESENT"} 2`,
    `tidemark_lookup_rows_total{${view},status="NOT_FOUND"} 1`,
    `tidemark_http_request_duration_seconds_count{${route},method="GET",status="200"} 3`,
    `tidemark_store_snapshot ${api.deps.store.snapshot}`,
    'tidemark_store_waiting_rows 0',
    `tidemark_store_revisions{${view},version="v1"} 2`,
    `tidemark_store_entities{${view},version="v1"} 2`,
    `tidemark_store_vectors{${view},version="v1"} 2`,
  ]) {
    expect(lines).toContain(line);
  }
  expect(bytes.toString()).toContain('nodejs_heap_size_used_bytes');
  expect(bytes.toString()).not.toContain('secret-id');
});

test('the documentation is served whole, from here', async () => {
  const api = await startApi();
  const page = await api.send('GET', '/docs');
  expect([page.status, page.type]).toEqual([200, expect.stringContaining('text/html')]);
  expect(page.bytes.toString()).not.toMatch(/(?:src|href)="https?:/);
  const script = await api.send('GET', '/docs/static/swagger-ui-bundle.js');
  expect(script.status).toBe(200);
});
