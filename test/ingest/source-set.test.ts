import { expect, onTestFinished, test, vi } from 'vitest';

import type { Log } from '../../src/ingest/kafka/client.ts';
import { Sources } from '../../src/ingest/kafka/source-set.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import type { ModelBinding, ModelVersion } from '../../src/store/catalogue.ts';
import { restoreBackup } from '../../src/store/restore.ts';
import { startKey } from '../../src/store/starts.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { SILENT } from '../support/replica.ts';
import { TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';

const PROMPT = { template: '{{title}}', fields: ['title'] };
const TEXTS = {
  name: 's',
  feature_view: 'job',
  topics: ['t'],
  content: 'fields',
  event_timestamp: 'record',
  known_timestamp: 'record',
  fields: { title: 'title' },
};

/** Of a server whose brokers are nowhere. */
function start(store: Store, log: Log = SILENT, ...configs: object[]): Sources {
  const sources = new Sources({
    configs: configs.map((config) => sourceConfigSchema.parse({ ...TEXTS, ...config })),
    connection: { brokers: ['127.0.0.1:1'], ssl: false },
    store,
    futureSkewMax: 0,
    log,
    preparer: () => () => Promise.reject(new Error('nothing comes')),
  });
  onTestFinished(() => sources.stop());
  sources.start();
  return sources;
}

function versionWith(version: string, prompt?: ModelBinding['prompt']): ModelVersion {
  const [plain] = Object.values(viewOf('job', 2, 'float32', version).versions);
  return { ...plain!, model: { name: 'm', fingerprint: 'f', ...(prompt && { prompt }) } };
}

function namesOf(sources: Sources): string[] {
  return sources.statuses().map(({ name }) => name);
}

test('a source that names no version reads into those whose prompt takes its fields, and says of others why not', async () => {
  const store = testStore();
  const warn = vi.fn<Log['warn']>();
  const sources = start(store, { ...SILENT, warn }, {});
  const message = 'no model version of job has a prompt that takes the fields of its records';
  expect(sources.statuses()).toMatchObject([{ name: 's', state: 'degraded', message }]);
  store.addVersion('job', versionWith('of-texts'));
  store.addVersion('job', versionWith('v2', { template: '{{t}} {{u}}', fields: ['title', 'u'] }));
  const misfit = 'the source s of job@v2, topic t: fields lacks u, which the prompt reads';
  await expect
    .poll(() => sources.statuses())
    .toMatchObject([{ name: 's', message: expect.stringContaining(misfit) }]);
  store.addVersion('job', versionWith('v3', PROMPT));
  await expect.poll(() => namesOf(sources)).toEqual(['s@v3']);
  const said = warn.mock.calls.map(([, text]) => text);
  expect(said.filter((text) => text === misfit)).toHaveLength(1);
});

test('a source waits for its view, and stops with it', async () => {
  const store = testStore();
  await store.dropView('job');
  const sources = start(store, SILENT, {});
  expect(sources.statuses()).toMatchObject([
    { name: 's', state: 'degraded', message: expect.stringContaining('no feature view job') },
  ]);
  store.createView({ ...viewOf('job'), versions: { v1: versionWith('v1', PROMPT) } });
  await expect.poll(() => namesOf(sources)).toEqual(['s@v1']);
  await store.dropView('job');
  await expect.poll(() => namesOf(sources)).toEqual(['s']);
  await sources.stop();
  expect(sources.statuses()).toMatchObject([{ state: 'stopped' }]);
});

test('a backlog is not known while a source cannot read, and is none where no source is', () => {
  const store = testStore();
  const sources = start(store, SILENT, { version: 'v1' });
  expect(sources.backlogOf('job', 'v1')).toEqual({
    records: 0,
    isKnown: false,
    sources: ['s'],
    behind: ['s'],
  });
  expect(sources.backlogOf('job', 'v2')).toEqual({
    records: 0,
    isKnown: true,
    sources: [],
    behind: [],
  });
});

test('where a source began in a partition outlasts compaction, and is in a backup', async () => {
  const clock = new TestClock();
  const store = testStore(viewOf('job'), clock);
  const at = { source: 's', topic: 't', partition: 3 };
  const rows = new RevisionBatch(8, 0);
  for (const [key, next] of [
    [startKey(at), 7n],
    [at, 9n],
  ] as const) {
    await store.commit('job', 'v1', { rows, offset: { ...key, expected: undefined, next } });
  }
  const storedIn = (of: Store): unknown => {
    const { offsets } = of.version('job', 'v1');
    return [offsets.next(startKey(at)), offsets.next(at)];
  };
  await store.compact('job', 'v1');
  expect(storedIn(store)).toEqual([7n, 9n]);
  const [backup, directory] = [tempDirectory(), tempDirectory()];
  await store.backup(backup);
  const how = { replace: false, erasedFrom: undefined, noNewerErasures: true };
  await restoreBackup(backup, directory, how, clock.read, Math.random);
  const restored = openStore(directory, clock.read);
  onTestFinished(async () => restored.close());
  expect(storedIn(restored)).toEqual([7n, 9n]);
});
