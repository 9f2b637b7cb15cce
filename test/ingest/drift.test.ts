import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { configSchema } from '../../src/config.ts';
import { TidemarkError } from '../../src/ground/errors.ts';
import { systemClock } from '../../src/ground/time.ts';
import { endOf } from '../../src/ingest/kafka/session-end.ts';
import { startTidemark } from '../../src/main.ts';
import { openStore } from '../../src/store/store.ts';
import { tempDirectory } from '../support/temp.ts';

const VIEW = {
  entity: 'job',
  join_key: 'job_id',
  version: 'v1',
  dim: 128,
  dtype: 'float32',
  model: { name: 'hashing' },
};
const TIME = '2026-01-01T00:00:00Z';

interface Answer {
  status: number;
  body: Record<string, never>;
}

async function start(data: string) {
  const settings = configSchema.parse({ data, port: 0, log_level: 'silent' });
  const server = await startTidemark({ ...settings, models: join(data, 'models') });
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (!isStopped) await server.stop();
    isStopped = true;
  };
  onTestFinished(stop);
  const send = async (method: string, path: string, body?: object): Promise<Answer> => {
    const answer = await fetch(`${server.url}${path}`, {
      method,
      ...(body && {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    });
    return { status: answer.status, body: (await answer.json()) as Answer['body'] };
  };
  const push = async (id: string): Promise<Answer> =>
    send('POST', '/v1/push', {
      feature_view: 'job',
      records: [{ entity_id: id, event_timestamp: TIME, text: `nurse ${id}` }],
    });
  const metric = async (pattern: RegExp): Promise<string | undefined> => {
    const answer = await fetch(`${server.url}/metrics`);
    return pattern.exec(await answer.text())?.[1];
  };
  return { send, push, metric, stop };
}

const COSINE = /^tidemark_embed_golden_cosine\{model="hashing"\} (\S+)$/m;

test('a server whose model has drifted refuses texts for the version, and goes on reading', async () => {
  const data = join(tempDirectory(), 'data');
  const first = await start(data);
  await first.send('PUT', '/v1/feature-views/job', VIEW);
  expect((await first.push('1')).status).toBe(200);
  expect(await first.metric(COSINE)).toBeUndefined();
  await first.stop();

  const second = await start(data);
  await expect
    .poll(async () => Number(await second.metric(COSINE)), { timeout: 20_000 })
    .toBeCloseTo(1, 9);
  const { checks } = (await second.send('GET', '/readyz')).body;
  expect(checks?.['model hashing']).toEqual({
    ok: true,
    state: 'warm',
    provider: 'cpu',
    device: expect.any(String),
    golden_cosine: expect.closeTo(1, 9),
  });
  expect(await second.metric(/^tidemark_embed_provider_info\{(.*)\} 1$/m)).toBe(
    'model="hashing",provider="cpu"',
  );
  expect((await second.push('2')).status).toBe(200);
  await second.stop();

  // As if another library had made them: some numbers of them, otherwise.
  const store = openStore(data, systemClock);
  const golden = store.catalogue.golden('job', 'v1')!;
  const vectors = new Float32Array(new Uint8Array(golden.vectors).buffer).map((value, i) =>
    i % 5 === 0 ? -value : value,
  );
  store.catalogue.putGolden('job', 'v1', {
    ...golden,
    vectors: new Uint8Array(vectors.buffer),
    made_by: { provider: 'cuda', device: 'Some card', runtime: 'runtime 0.9' },
  });
  await store.close();

  const third = await start(data);
  const refused = await third.push('3');
  expect(refused).toMatchObject({
    status: 409,
    body: {
      code: 'MODEL_DRIFTED',
      detail: expect.stringMatching(
        /job@v1: the least cosine .* is 0\.\d+, expected 0\.999 or more\. Then .*: runtime 0\.9 on cuda \(Some card\); now: onnxruntime-node 1\.29\.0 on cpu/,
      ),
    },
  });
  const ready = await third.send('GET', '/readyz');
  expect(ready).toMatchObject({
    status: 503,
    body: { checks: { 'model hashing': { ok: false, message: refused.body['detail'] } } },
  });
  expect(Number(await third.metric(COSINE))).toBeLessThan(0.999);
  const read = await third.send('GET', '/v1/feature-views/job/entities/2');
  expect(read).toMatchObject({ status: 200, body: { status: 'PRESENT' } });
});

test('a source whose model has drifted is halted, and does not try again', () => {
  const drift = new TidemarkError('MODEL_DRIFTED', 'the model has drifted');
  expect(endOf(drift)).toEqual({ kind: 'halted', message: 'the model has drifted' });
});
