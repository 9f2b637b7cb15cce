import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { systemClock } from '../../src/ground/time.ts';
import { Sources } from '../../src/ingest/kafka/source-set.ts';
import { Pipeline } from '../../src/ingest/pipeline.ts';
import { replayLetters } from '../../src/ingest/replay.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import type { ModelVersion } from '../../src/store/catalogue.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { FakeEmbedder } from '../support/fake-embedder.ts';
import { ServerProcess } from '../support/server.ts';
import { viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { MOMENT, range, SOON, vectorMessage } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';
import { readTopic } from './topic.ts';

const PACE = { tick: 200, silence: 20_000, retry: 50, retryLongest: 500 };
const PROMPT = { template: '{{title}}', fields: ['title'] };

/** A job and its title, which the fake models make a vector of. */
function titled(from: number, to: number) {
  return range(from, to).map((at) => ({
    key: `e${at}`,
    value: JSON.stringify({ at: MOMENT, title: `title ${at}` }),
  }));
}

/** A store with a view `job`, two models, and the sources of a server. */
class World {
  readonly directory = tempDirectory();
  readonly embedders: Record<string, FakeEmbedder> = {
    quick: new FakeEmbedder(),
    slow: new FakeEmbedder(),
  };
  /** What was logged at the level of warnings and errors. */
  readonly warnings: string[] = [];
  store: Store;
  sources!: Sources;
  private configs: object[];

  constructor(...configs: object[]) {
    this.configs = configs;
    this.store = openStore(this.directory, systemClock);
    this.embedders['slow']!.fingerprint = 'model-2';
    onTestFinished(() => this.close());
  }

  static async ofTexts(topic: string): Promise<World> {
    const world = new World({
      name: 's',
      feature_view: 'job',
      content: 'fields',
      known_timestamp: 'arrival',
      event_timestamp: { path: 'at', unit: 'rfc3339' },
      group_prefix: topic,
      topics: [topic],
    });
    await world.makeView();
    world.start();
    return world;
  }

  async makeView(): Promise<void> {
    const view = viewOf('job');
    const v1 = await this.version('v1', 'quick');
    this.store.createView({ ...view, versions: { v1 } });
  }

  async add(version: string, model: string): Promise<void> {
    this.store.addVersion('job', await this.version(version, model));
  }

  start(): void {
    const pipeline = this.pipeline();
    const note = (_fields: object, message: string): void => {
      // The first groups of a new broker wait for their coordinator.
      if (!/coordinator/i.test(message)) this.warnings.push(message);
    };
    this.sources = new Sources({
      configs: this.configs.map((config) => sourceConfigSchema.parse(config)),
      connection: connection(),
      store: this.store,
      futureSkewMax: 300_000_000,
      log: { debug() {}, info() {}, warn: note, error: note },
      pace: PACE,
      preparer: (view, version) => pipeline.preparer(view, version),
    });
    this.sources.start();
  }

  /** Stops the sources and opens the store anew, as a restart of the process does. */
  async reopen(whileDown: () => Promise<void>): Promise<void> {
    await this.close();
    await whileDown();
    this.store = openStore(this.directory, systemClock);
    this.start();
  }

  /** The entities of a version, in the order of their commits. */
  entities(version: string): string[] {
    const { environment, log } = this.store.version('job', version);
    environment.refresh();
    return log.read(0, this.store.snapshot, 1_000).map(({ entityId }) => entityId);
  }

  async positioned(version: string): Promise<void> {
    await expect.poll(() => this.sources.readersOf('job', version), SOON).toHaveLength(1);
    await this.sources.readersOf('job', version)[0]!.positioned();
  }

  private async version(version: string, model: string): Promise<ModelVersion> {
    const { binding, dim } = await this.pipeline().bind({ name: model, prompt: PROMPT });
    return { version, dim, dtype: 'float32', created_timestamp: systemClock(), model: binding };
  }

  private pipeline(): Pipeline {
    return new Pipeline({
      embedder: async (name) => this.embedders[name]!,
      copyPooled: (view, version, hash, out) =>
        this.store.version(view, version).copyPooled(hash, out),
      fields: (view, version) => this.store.version(view, version).fields,
      isLatestOnly: () => false,
      textCharsMax: 1_000,
    });
  }

  private async close(): Promise<void> {
    await this.sources.stop();
    await this.store.close();
  }
}

function ids(from: number, to: number): string[] {
  return range(from, to).map((at) => `e${at}`);
}

/** What is asked for to add a version. */
const versionOf = (version: string, template: string) => ({
  version,
  dim: 128,
  dtype: 'float32',
  model: { name: 'hashing', prompt: { template, fields: ['title'] } },
});

/** A vector of an entity that names its version. */
const named = (version: string, id: string) => ({
  ...vectorMessage(id, [3, 4]),
  headers: { 'tidemark-version': version },
});

describeKafka('a source that names no version', () => {
  const cluster = Cluster.open();

  test('feeds each version for itself: a slow candidate, which begins where it joined, holds up nothing', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, titled(0, 10));
    const world = await World.ofTexts(topic);
    const { embedders, store, sources } = world;
    await expect.poll(() => world.entities('v1'), SOON).toEqual(ids(0, 10));
    const held = (embedders['slow']!.held = Promise.withResolvers());
    await world.add('v2', 'slow');
    await world.positioned('v2');
    const [candidate] = sources.readersOf('job', 'v2');
    expect(candidate!.positions()).toEqual([{ topic, partition: 0, first: 10n, next: 10n }]);
    const [current] = sources.readersOf('job', 'v1');
    expect(current!.positions()).toEqual([{ topic, partition: 0, first: 0n, next: 10n }]);
    await cluster.produce(topic, titled(10, 20));
    await expect.poll(() => world.entities('v1'), SOON).toEqual(ids(0, 20));
    await expect
      .poll(() => sources.backlogOf('job', 'v2'), SOON)
      .toEqual({ records: 10, isKnown: true, sources: ['s@v2'], behind: ['s@v2'] });
    await expect
      .poll(() => sources.backlogOf('job', 'v1'), SOON)
      .toEqual({ records: 0, isKnown: true, sources: ['s@v1'], behind: [] });
    expect(world.entities('v2')).toEqual([]);
    expect(sources.statuses()).toMatchObject([
      { name: 's@v1', isBeside: false, state: 'running' },
      { name: 's@v2', isBeside: true, state: 'running' },
    ]);
    held.resolve();
    await expect.poll(() => sources.backlogOf('job', 'v2').behind, SOON).toEqual([]);
    expect(world.entities('v2')).toEqual(ids(10, 20));
    expect(embedders['slow']!.asked).toEqual(range(10, 20).map((at) => `title ${at}`));
    // Nothing begins anew when it is promoted: it goes on, and so does the one before it.
    await store.promote('job', 'v2', { kept_until: undefined });
    await cluster.produce(topic, titled(20, 25));
    await expect.poll(() => world.entities('v2'), SOON).toEqual(ids(10, 25));
    await expect.poll(() => world.entities('v1'), SOON).toEqual(ids(0, 25));
    expect(sources.statuses().map(({ isBeside }) => isBeside)).toEqual([true, false]);
    expect(world.warnings).toEqual([]);
  });

  test('goes on without a gap after a restart before the first record that a version reads', async () => {
    const topic = await cluster.topic(2);
    await cluster.produce(topic, titled(0, 5));
    const world = await World.ofTexts(topic);
    await world.add('v2', 'slow');
    await world.positioned('v2');
    await expect.poll(() => world.entities('v1'), SOON).toEqual(ids(0, 5));
    await world.reopen(async () => {
      await cluster.produce(topic, titled(5, 8));
      await cluster.produce(topic, titled(8, 11), { partition: 1 });
      // A partition that is new has nothing that is older than the version.
      await cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
      const other = new Cluster();
      await other.produce(topic, titled(11, 13), { partition: 2 });
      await other.close();
    });
    await expect.poll(() => world.entities('v2').toSorted(), SOON).toEqual(ids(5, 13).toSorted());
    await expect.poll(() => world.entities('v1'), SOON).toHaveLength(13);
    expect(world.sources.readersOf('job', 'v2')[0]!.positions()).toEqual([
      { topic, partition: 0, first: 5n, next: 8n },
      { topic, partition: 1, first: 0n, next: 3n },
      { topic, partition: 2, first: 0n, next: 2n },
    ]);
  });

  test('reads no more into a version that is retired, and without a word about it', async () => {
    const topic = await cluster.topic();
    const world = await World.ofTexts(topic);
    await world.positioned('v1');
    await world.add('v2', 'slow');
    await world.positioned('v2');
    await cluster.produce(topic, [...titled(0, 3), { key: 'e3', value: 'not JSON' }]);
    const letters = (version: string) => {
      const { environment, deadLetters } = world.store.version('job', version);
      environment.refresh();
      return deadLetters.list(10);
    };
    await expect.poll(() => letters('v1').length + letters('v2').length, SOON).toBe(2);
    const at = { view: 'job', version: 'v2' };
    const { readers } = world.sources;
    expect(await replayLetters(world.store, readers, at, letters('v2'))).toMatchObject({
      failed: 1,
      unconfigured: 0,
    });
    world.warnings.length = 0;
    // It is retired while a batch of it is at its model.
    const held = (world.embedders['slow']!.held = Promise.withResolvers());
    await cluster.produce(topic, titled(4, 8));
    await expect.poll(() => world.embedders['slow']!.asked, SOON).toHaveLength(7);
    const [gone] = world.sources.readersOf('job', 'v2');
    const retired = world.store.retire('job', 'v2', {});
    expect(world.sources.statuses().map(({ name }) => name)).toEqual(['s@v1']);
    held.resolve();
    await retired;
    await expect.poll(() => gone!.status().state, SOON).toBe('stopped');
    await expect.poll(() => world.entities('v1'), SOON).toHaveLength(7);
    expect(world.warnings).toEqual([]);
    // Another one of its name is another version, and begins where that one joins.
    await world.add('v2', 'slow');
    await world.positioned('v2');
    await cluster.produce(topic, titled(8, 10));
    await expect.poll(() => world.entities('v2'), SOON).toEqual(ids(8, 10));
    // So is a view that is made anew: of its only version the source's first record is the topic's.
    await world.store.dropView('job');
    await expect
      .poll(() => world.sources.statuses(), SOON)
      .toMatchObject([{ name: 's', state: 'degraded', message: expect.stringContaining('job') }]);
    await world.makeView();
    await expect.poll(() => world.entities('v1'), SOON).toEqual([...ids(0, 3), ...ids(4, 10)]);
  });

  test('reads all of a version that a promoted replica has had from its leader', async () => {
    const topic = await cluster.topic();
    await cluster.produce(topic, titled(0, 5));
    const world = await World.ofTexts(topic);
    await world.sources.stop();
    await world.add('v2', 'slow');
    // As when it was promoted now.
    await world.store.alone(async () => {});
    world.store.catalogue.branch(world.store.snapshot, 0, 'http://127.0.0.1:1');
    world.start();
    await expect.poll(() => world.entities('v2'), SOON).toEqual(ids(0, 5));
  });
});

describeKafka('a server whose source names no version', () => {
  const cluster = Cluster.open();
  const settings = {
    name: 'jobs',
    feature_view: 'job',
    content: 'fields',
    known_timestamp: 'arrival',
    event_timestamp: { path: 'at', unit: 'rfc3339' },
    dead_letter_topic: true,
  };
  const view = { entity: 'job', join_key: 'job_id' };
  test('shows what it reads into each version, and stays ready while a candidate joins and leaves', async () => {
    const topic = await cluster.topic();
    const letterTopic = `${topic}.dlq`;
    await cluster.admin.createTopics({ topics: [{ topic: letterTopic }], waitForLeaders: false });
    const config = join(tempDirectory(), 'tidemark.yaml');
    const sources = [{ ...settings, topics: [topic], group_prefix: topic }];
    writeFileSync(config, JSON.stringify({ kafka: connection(), sources }));
    const server = await ServerProcess.start(tempDirectory(), ['--config', config]);
    const ready = async () => server.send('GET', '/readyz');
    await expect
      .poll(ready, SOON)
      .toMatchObject({ status: 503, body: { checks: { 'source jobs': { state: 'degraded' } } } });
    const v1 = versionOf('v1', '{{title}}');
    await server.ask('PUT', '/v1/feature-views/job', { ...view, ...v1 });
    await expect.poll(async () => (await ready()).status, SOON).toBe(200);
    const v2 = versionOf('v2', 'A job: {{title}}');
    await server.ask('POST', '/v1/feature-views/job/versions', v2);
    const joining = await ready();
    expect(joining).toMatchObject({ status: 200, body: { checks: { 'source jobs@v2': {} } } });
    await expect
      .poll(async () => (await ready()).body, SOON)
      .toMatchObject({ checks: { 'source jobs@v2': { ok: true, partitions: [{}] } } });
    const broken = { key: 'e9', value: 'not JSON' };
    await cluster.produce(topic, [...titled(0, 3), broken]);
    const written = await readTopic(letterTopic);
    const said = () => new Set(written.map(({ headers }) => headers['tidemark-dlq-version']));
    await expect.poll(said, SOON).toEqual(new Set(['v1', 'v2']));
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    for (const name of ['jobs@v1', 'jobs@v2']) {
      expect(metrics).toContain(`tidemark_ingest_events_total{source="${name}",result="latest"} 3`);
    }
    const retired = await fetch(`${server.url}/v1/feature-views/job/versions/v2`, {
      method: 'DELETE',
    });
    expect(retired.ok).toBe(true);
    const after = await ready();
    expect(after.status).toBe(200);
    expect(Object.keys((after.body as { checks: object }).checks)).toEqual([
      'store',
      'model hashing',
      'source jobs@v1',
      'sink dead letters of jobs',
    ]);
    expect(await server.terminate()).toBe(0);
  });
});

describeKafka('a source of vectors', () => {
  const cluster = Cluster.open();

  test('goes on into the version it names when another one of the same dim is promoted (A14)', async () => {
    const topic = await cluster.topic();
    const world = new World({
      name: 's',
      feature_view: 'job',
      version: 'v1',
      content: 'vector',
      known_timestamp: 'arrival',
      group_prefix: topic,
      topics: [topic],
    });
    world.store.createView(viewOf('job'));
    world.start();
    const { v1 } = world.store.catalogue.mustGetView('job').versions;
    world.store.addVersion('job', { ...v1!, version: 'v2' });
    await cluster.produce(topic, [vectorMessage('before', [1, 2])]);
    await expect.poll(() => world.entities('v1'), SOON).toEqual(['before']);
    await world.store.promote('job', 'v2', { kept_until: undefined });
    await cluster.produce(topic, [
      vectorMessage('after', [3, 4]),
      named('v1', 'named'),
      named('v2', 'of another'),
      named('current', 'of an alias'),
    ]);
    const { counters } = world.sources.readers[0]!;
    await expect.poll(() => counters.events, SOON).toMatchObject({ latest: 3, dead_letter: 2 });
    expect(world.entities('v1')).toEqual(['before', 'after', 'named']);
    expect(world.entities('v2')).toEqual([]);
    const letters = world.store.version('job', 'v1').deadLetters.list(10);
    expect(letters.map(({ reason, message }) => [reason, message])).toEqual([
      ['BAD_RECORD', 'got v2 in the header tidemark-version, expected v1'],
      ['BAD_RECORD', 'got current in the header tidemark-version, expected v1'],
    ]);
    expect(world.sources.backlogOf('job', 'v2').sources).toEqual([]);
  });
});
