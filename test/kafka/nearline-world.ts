import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { expect, onTestFinished, vi } from 'vitest';

import { systemClock } from '../../src/ground/time.ts';
import { openStore } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { tempDirectory } from '../support/temp.ts';
import { SOON } from './bench.ts';
import type { Broker } from './broker.ts';
import { Cluster } from './cluster.ts';
import type { Order } from './nearline-child.ts';
import { JOB_PARTITIONS, NearlineEvents, type NearlineTopics } from './nearline-events.ts';
import { expectAllOf, readTopic, type Written } from './topic.ts';

/** Events that are written before each look at whether the server still lives. */
const TICK = 20;
const CHILD = join(import.meta.dirname, 'nearline-child.ts');
const FOREVER = { 'retention.ms': '-1' };
const VIEWS = ['job', 'member'] as const;
type View = (typeof VIEWS)[number];

const JOB_PROMPT = {
  template: '{{title}} in {{place}}. {{about}}',
  fields: ['title', 'place', 'about'],
};
const MEMBER_PROMPT = {
  template: '{{headline}}: {{skills}}. {{text}} ({{town}})',
  fields: ['headline', 'skills', 'text', 'town'],
  parts: { profile: ['headline', 'skills'], resume: ['text', 'town'] },
};

/** One revision, as it is answered from. */
interface Row {
  event: number;
  known: number;
  /** The number of its vector; null for a tombstone. */
  vector: number | null;
}

/** All that a data directory holds of what was read. */
interface Held {
  timelines: Record<View, Map<string, Row[]>>;
  letters: string[];
  seqs: Record<View, number[]>;
}

/** Topics, a server that reads them, dies and is started again, and what it has published. */
export class World {
  deaths = 0;
  readonly cluster: Cluster;
  readonly broker: Broker;
  private data = tempDirectory();
  private topics: NearlineTopics & Record<View | 'letters', string>;
  private events: NearlineEvents;
  private random: (below: number) => number;
  private lives = 0;
  private child: ChildProcess | undefined;
  private said: string[] = [];

  private constructor(cluster: Cluster, broker: Broker, topics: World['topics'], seed: number) {
    this.cluster = cluster;
    this.broker = broker;
    this.topics = topics;
    this.random = seeded(seed);
    this.events = new NearlineEvents(topics, this.random);
  }

  static async make(broker: Broker, seed: number): Promise<World> {
    const cluster = new Cluster(broker.address);
    onTestFinished(() => cluster.close());
    const jobs = await cluster.topic(JOB_PARTITIONS, FOREVER);
    const one = async (): Promise<string> => cluster.topic(1, FOREVER);
    const letters = await one();
    const topics = {
      jobs,
      profiles: await one(),
      resumes: await one(),
      job: await one(),
      member: await one(),
      letters,
    };
    const world = new World(cluster, broker, topics, seed);
    await world.produce(100);
    return world;
  }

  /** Writes so many events, whatever becomes of the broker meanwhile. */
  async produce(count: number): Promise<void> {
    const parts = Map.groupBy(
      this.events.take(count),
      ({ topic, partition }) => `${topic}/${partition}`,
    );
    for (const part of parts.values()) {
      const [{ topic, partition }] = part as [(typeof part)[0]];
      const messages = part.map(({ message }) => message);
      const send = () => this.cluster.produce(topic, messages, { partition }).then(() => true);
      await expect.poll(send, SOON).toBe(true);
    }
  }

  /** Starts the server in the group of the life before, or in a new one, which need not wait for the dead. */
  start(strike?: Order['strike'], isSameGroup = false): void {
    if (!isSameGroup) this.lives++;
    this.child = this.spawn(this.data, { ...(strike && { strike }), sinks: true });
  }

  /** A consumer that is none of the server's joins its group, takes a partition, and leaves. */
  async joinAndLeave(): Promise<void> {
    const foreign = this.cluster.client.consumer({ groupId: `${this.prefix}-jobs-job-v1` });
    const joined = Promise.withResolvers<void>();
    foreign.on(foreign.events.GROUP_JOIN, ({ payload }) => {
      if (Object.values(payload.memberAssignment).flat().length > 0) joined.resolve();
    });
    await foreign.connect();
    await foreign.subscribe({ topics: [this.topics.jobs], fromBeginning: true });
    await foreign.run({ eachMessage: async () => {} });
    await this.produce(200);
    await joined.promise;
    await foreign.disconnect();
  }

  /** Resolves when the server reads. */
  async ready(): Promise<void> {
    const url = await this.url();
    const state = async () => (await fetch(`${url}/readyz`)).status;
    await expect.poll(state, SOON).toBe(200);
  }

  /** Goes on writing until the server is dead by its own doing. */
  async death(point: string): Promise<void> {
    const child = this.child!;
    await vi.waitUntil(
      async () => {
        if (isGone(child)) return true;
        await this.produce(TICK);
        return false;
      },
      { timeout: 120_000, interval: 100 },
    );
    expect(child.signalCode, point).toBe('SIGKILL');
    this.deaths++;
  }

  /** Goes on writing until the server has said this. */
  async hears(line: string): Promise<void> {
    await vi.waitUntil(
      async () => {
        if (this.said.includes(line)) return true;
        await this.produce(TICK);
        return false;
      },
      { timeout: 120_000, interval: 100 },
    );
  }

  /** Kills the server while it has so many rounds of events to read. */
  async kill(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) await this.produce(TICK);
    const child = this.child!;
    child.kill('SIGKILL');
    await vi.waitUntil(() => isGone(child), { timeout: 10_000 });
    this.deaths++;
  }

  /** The process hangs for longer than its group waits for it, and then goes on as if nothing was. */
  async hang(): Promise<void> {
    const child = this.child!;
    const groupId = `${this.prefix}-jobs-job-v1`;
    child.kill('SIGSTOP');
    await this.produce(TICK);
    const members = async () =>
      (await this.cluster.admin.describeGroups([groupId])).groups[0]?.members;
    await expect.poll(async () => (await members())?.length, SOON).toBe(0);
    child.kill('SIGCONT');
  }

  /** Makes the views; a server that is without them waits. */
  async makeViews(): Promise<void> {
    this.start();
    await this.putViews();
    await this.end(this.child!);
  }

  /**
   * Has a server read and publish all there is, and expects of it what another one answers that has
   * read the same topics from zero. How many answers were compared.
   */
  async expectAsReplayed(): Promise<number> {
    this.start();
    await this.caughtUp();
    await this.end(this.child!);
    const vectors = new Vectors();
    const held = hold(this.data, vectors);
    for (const view of VIEWS) expectAllOf(await this.published(view), held.seqs[view]);
    const letters = await this.published('letters');
    const published = letters.map(({ headers }) =>
      ['topic', 'partition', 'offset'].map((part) => headers[`tidemark-dlq-${part}`]).join('/'),
    );
    expect(new Set(published)).toEqual(new Set(held.letters.map((each) => each.split(' ')[0])));

    const replayed = tempDirectory();
    this.lives++;
    this.child = this.spawn(replayed, { sinks: false });
    await this.putViews();
    await this.caughtUp();
    await this.end(this.child);
    const again = hold(replayed, vectors);
    for (const directory of [this.data, replayed]) {
      expect((await verifyStore(directory)).problems).toEqual([]);
    }
    expect(held.letters.length).toBeGreaterThan(0);
    expect(held.letters).toEqual(again.letters);
    // By bytes: the hashing model makes the same numbers of a text, whatever it is run with.
    expect(held.timelines.job).toEqual(again.timelines.job);
    return held.seqs.job.length + expectSameAnswers(held.timelines.member, again.timelines.member);
  }

  private get prefix(): string {
    return `${this.topics.jobs}-${this.lives}`;
  }

  private spawn(
    data: string,
    { sinks, strike }: { sinks: boolean; strike?: NonNullable<Order['strike']> },
  ): ChildProcess {
    const order: Order = { config: this.config(data, sinks), ...(strike && { strike }) };
    const child = spawn(process.execPath, [CHILD, JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    this.said = [];
    const { said } = this;
    createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
    return child;
  }

  private config(data: string, hasSinks: boolean): Record<string, unknown> {
    const { jobs, profiles, resumes, letters } = this.topics;
    const shared = {
      content: 'fields',
      version: 'v1',
      entity_id: 'id',
      known_timestamp: 'record',
      group_prefix: this.prefix,
      ...(hasSinks && { dead_letter_topic: letters }),
    };
    const event_timestamp = { path: 'ts_ms', unit: 'ms' };
    return {
      data,
      port: 0,
      log_level: 'silent',
      models: resolve('.cache/models'),
      kafka: { brokers: [this.broker.address] },
      sources: [
        {
          ...shared,
          name: 'jobs',
          feature_view: 'job',
          topics: [jobs],
          event_timestamp,
          delete_when: { path: 'op', equals: 'd' },
          fields: 'after',
        },
        {
          ...shared,
          name: 'members',
          feature_view: 'member',
          topics: [
            {
              topic: profiles,
              part: 'profile',
              event_timestamp,
              delete_when: { path: 'gone', equals: true },
            },
            { topic: resumes, part: 'resume', envelope: 'debezium' },
          ],
        },
      ],
      sinks: hasSinks
        ? VIEWS.map((view) => ({
            name: view,
            feature_view: view,
            version: 'v1',
            topic: this.topics[view],
          }))
        : [],
    };
  }

  private async url(): Promise<string> {
    const { said } = this;
    const child = this.child!;
    await vi.waitUntil(() => said.length > 0 || isGone(child), { timeout: 60_000 });
    expect(isGone(child), 'the server ended before it served').toBe(false);
    return said.find((line) => line.startsWith('http'))!;
  }

  private async putViews(): Promise<void> {
    const url = await this.url();
    for (const view of VIEWS) {
      const prompt = view === 'job' ? JOB_PROMPT : MEMBER_PROMPT;
      const body = {
        entity: view,
        join_key: `${view}_id`,
        version: 'v1',
        dtype: 'float32',
        dim: 128,
        model: { name: 'hashing', prompt },
      };
      const made = await fetch(`${url}/v1/feature-views/${view}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect(made.status, await made.text()).toBe(201);
    }
  }

  /** All that the topics hold is read, and where there are sinks, published. */
  private async caughtUp(): Promise<void> {
    const url = await this.url();
    const { jobs, profiles, resumes } = this.topics;
    const ends = await Promise.all(
      [jobs, profiles, resumes].map((topic) => this.cluster.admin.fetchTopicOffsets(topic)),
    );
    const all = ends.flat().reduce((sum, { high }) => sum + Number(high), 0);
    await expect
      .poll(
        async () => {
          const { checks } = (await (await fetch(`${url}/readyz`)).json()) as {
            checks: Record<string, Check>;
          };
          const sources = [checks['source jobs'], checks['source members']];
          const read = sources.flatMap((source) => source?.partitions ?? []);
          const waiting = Object.values(checks).reduce((sum, { records = 0 }) => sum + records, 0);
          return {
            read: read.reduce((sum, { next_offset }) => sum + (next_offset ?? 0), 0),
            waiting,
            states: [...new Set(Object.entries(checks).map(([, { ok }]) => ok))],
          };
        },
        { timeout: 120_000, interval: 50 },
      )
      .toEqual({ read: all, waiting: 0, states: [true] });
  }

  /** All that a topic holds, read now: a reader that was there all along would have died with the broker. */
  private async published(to: View | 'letters'): Promise<Written[]> {
    const topic = this.topics[to];
    const [end] = await this.cluster.admin.fetchTopicOffsets(topic);
    const read = await readTopic(topic, this.broker.address);
    await expect.poll(() => read.length, SOON).toBe(Number(end!.high));
    return read;
  }

  private async end(child: ChildProcess): Promise<void> {
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).toBe(0);
  }
}

interface Check {
  ok: boolean;
  records?: number;
  partitions?: { next_offset: number | null }[];
}

function isGone({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** A number for each vector, the same for the same bytes. */
class Vectors {
  private numbers = new Map<string, number>();

  numberOf(bytes: Buffer): number {
    const text = bytes.toString('latin1');
    const number = this.numbers.get(text) ?? this.numbers.size;
    this.numbers.set(text, number);
    return number;
  }
}

function hold(directory: string, numbers: Vectors): Held {
  const store = openStore(directory, systemClock);
  const timelines = { job: new Map<string, Row[]>(), member: new Map<string, Row[]>() };
  const seqs: Held['seqs'] = { job: [], member: [] };
  const letters: string[] = [];
  for (const view of VIEWS) {
    const { log, vectors, deadLetters } = store.version(view, 'v1');
    const bytes = Buffer.alloc(vectors.vectorBytes);
    for (const change of log.read(0, store.snapshot, 1_000_000)) {
      const { entityId, event, known, vectorId, seq } = change;
      if (vectorId >= 0) vectors.copyInto(vectorId, bytes, 0);
      const timeline = timelines[view].get(entityId) ?? [];
      timeline.push({ event, known, vector: vectorId < 0 ? null : numbers.numberOf(bytes) });
      timelines[view].set(entityId, timeline);
      seqs[view].push(seq);
    }
    for (const { position, reason } of deadLetters.list(100_000)) {
      const { topic, partition, offset } = position;
      letters.push(`${topic}/${partition}/${offset} ${reason}`);
    }
  }
  void store.close();
  return { timelines, letters: letters.toSorted(), seqs };
}

/**
 * What is answered at each moment of `events`, by what was known at each of `knowns`: the event and
 * the vector. A2, naively; the rows come in the order of their seqs.
 */
function answersOf(
  rows: readonly Row[],
  events: readonly number[],
  knowns: readonly number[],
): (string | undefined)[] {
  const sorted = rows.toSorted((a, b) => a.event - b.event || a.known - b.known);
  return knowns.flatMap((known) => {
    const then = sorted.filter((row) => row.known <= known);
    let at = 0;
    return events.map((event) => {
      while (at < then.length && then[at]!.event <= event) at++;
      const winner = then[at - 1];
      return winner && `${winner.event} ${winner.vector}`;
    });
  });
}

function ascending(times: number[]): number[] {
  return [...new Set(times)].toSorted((a, b) => a - b);
}

/**
 * Expects the same answers of both at every moment, by what was known at every other; how many.
 * What two topics say of one entity may be committed in another order, and then other rows, of
 * moments at which neither is asked, lead to the same answers (A2).
 */
function expectSameAnswers(ours: Map<string, Row[]>, theirs: Map<string, Row[]>): number {
  expect([...ours.keys()].toSorted()).toEqual([...theirs.keys()].toSorted());
  let compared = 0;
  for (const [id, rows] of ours) {
    const others = theirs.get(id)!;
    const all = [...rows, ...others];
    const events = ascending(all.map(({ event }) => event));
    const knowns = ascending(all.map(({ known }) => known));
    const answers = answersOf(rows, events, knowns);
    expect(answers, id).toEqual(answersOf(others, events, knowns));
    compared += answers.length;
  }
  return compared;
}
