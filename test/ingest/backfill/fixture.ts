import { join } from 'node:path';

import { type Micros, micros } from '../../../src/ground/time.ts';
import { Backfills } from '../../../src/ingest/backfill/backfills.ts';
import type { Pace } from '../../../src/ingest/kafka/session.ts';
import { Sources } from '../../../src/ingest/kafka/source-set.ts';
import { Pipeline } from '../../../src/ingest/pipeline.ts';
import { type KafkaConnection, sourceConfigSchema } from '../../../src/ingest/source-config.ts';
import type { ModelBinding, ModelVersion } from '../../../src/store/catalogue.ts';
import { openStore, type Store } from '../../../src/store/store.ts';
import { readTable } from '../../../src/timetravel/table/table.ts';
import { seeded } from '../../model/random.ts';
import { FakeEmbedder } from '../../support/fake-embedder.ts';
import { TestClock, viewOf } from '../../support/store.ts';

export const SECOND = 1_000_000;

/** Where a source reads, and how. */
interface TestKafka {
  connection: KafkaConnection;
  source: object;
  pace: Partial<Pace>;
}

export interface Opening {
  directory: string;
  kafka?: TestKafka | undefined;
  prompt?: NonNullable<ModelBinding['prompt']> | undefined;
}

/** What a server has that fills versions, with a model that answers at once. */
export interface Fixture {
  clock: TestClock;
  /** The model of `v2`. */
  embedder: FakeEmbedder;
  store: Store;
  pipeline: Pipeline;
  sources: Sources;
  backfills: Backfills;
}

/** With a view of `v1`, which keeps its inputs, and `v2`, of another model; nothing is started. */
export async function openFixture({ directory, kafka, prompt }: Opening): Promise<Fixture> {
  const clock = new TestClock(1_000 * SECOND);
  const store = openStore(directory, clock.read);
  const embedder = new FakeEmbedder();
  embedder.fingerprint = 'model-2';
  const models: Record<string, FakeEmbedder> = { old: new FakeEmbedder(), new: embedder };
  const pipeline = new Pipeline({
    embedder: async (name) => models[name]!,
    copyPooled: (view, name, hash, out) => store.version(view, name).copyPooled(hash, out),
    fields: (view, name) => store.version(view, name).fields,
    isLatestOnly: () => false,
    textCharsMax: 1_000,
  });
  const reading = {
    store,
    futureSkewMax: 300 * SECOND,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    connection: kafka?.connection,
    ...(kafka && { pace: kafka.pace }),
  };
  const configs = kafka === undefined ? [] : [sourceConfigSchema.parse(kafka.source)];
  const sources = new Sources({
    ...reading,
    configs,
    preparer: (view, version) => pipeline.preparer(view, version),
  });
  const random = seeded(1);
  let passed = 0;
  const backfills = new Backfills({
    ...reading,
    root: join(directory, 'backfills'),
    pipeline,
    readFile: readTable,
    sources: configs,
    readersOf: (view, version) => sources.readersOf(view, version),
    random: () => random(2 ** 30) / 2 ** 30,
    passed: () => (passed += 1_000),
  });
  if (store.catalogue.view('job') === undefined) {
    const settings = prompt && { prompt };
    const v1 = await versionOf(pipeline, 'v1', { ...settings, name: 'old', keep_inputs: true });
    store.createView({ ...viewOf('job'), versions: { v1 } });
    store.addVersion('job', await versionOf(pipeline, 'v2', { ...settings, name: 'new' }));
  }
  return { clock, embedder, store, pipeline, sources, backfills };
}

/** A version of the model, to be added. */
export async function versionOf(
  pipeline: Pipeline,
  version: string,
  settings: Parameters<Pipeline['bind']>[0],
): Promise<ModelVersion> {
  const { binding: model, dim } = await pipeline.bind(settings);
  const created_timestamp: Micros = micros(0);
  return { version, dim, dtype: 'float32', created_timestamp, model };
}

/** What a text says of an entity; null is a delete. Times in seconds. */
export interface Said {
  id: string;
  at: number;
  known?: number;
  text: string | null;
}
