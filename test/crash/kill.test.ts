import { expect, test } from 'vitest';

import { formatInstant, micros, parseInstant } from '../../src/ground/time.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 10);
const ENTITIES = 20;
const PUSHERS = 4;
const DIM = 64;

/** What one pusher sends: event after event, each once, tried again until it is acknowledged. */
class Pusher {
  acknowledged = 0;
  private number: number;
  private unanswered: number[] = [];

  constructor(number: number) {
    this.number = number;
  }

  entity(at: number): string {
    return `p${this.number}/${at % ENTITIES}`;
  }

  /** Pushes until the server is gone. */
  async run(server: ServerProcess, random: (below: number) => number): Promise<void> {
    for (;;) {
      if (this.unanswered.length === 0) {
        const size = 1 + random(40);
        this.unanswered = Array.from({ length: size }, (_, at) => this.acknowledged + at);
      }
      const records = this.unanswered.map((at) => ({
        entity_id: this.entity(at),
        event_timestamp: formatInstant(micros(at)),
        vector: vectorOf(this.number, at),
      }));
      try {
        const { rejected } = await server.ask<{ rejected: unknown[] }>('POST', '/v1/push', {
          feature_view: 'job',
          known: 'event',
          records,
        });
        expect(rejected).toEqual([]);
      } catch (error) {
        // Only a connection that broke is what this is about.
        if (error instanceof TypeError) return;
        throw error;
      }
      this.acknowledged += this.unanswered.length;
      this.unanswered = [];
    }
  }

  /** Every event that was acknowledged is there once; one in flight may be there, once. */
  async check(server: ServerProcess): Promise<void> {
    const sent = this.acknowledged + this.unanswered.length;
    const found = new Set<number>();
    for (let entity = 0; entity < Math.min(ENTITIES, sent); entity++) {
      const id = this.entity(entity);
      for (const { event: at, vector } of await timelineOf(server, id)) {
        expect(found.has(at), `${id} has the event ${at} once`).toBe(false);
        found.add(at);
        expect(this.entity(at)).toBe(id);
        expect(vector).toEqual(vectorOf(this.number, at));
      }
    }
    for (let at = 0; at < this.acknowledged; at++) expect(found.has(at), `event ${at}`).toBe(true);
    expect(found.size).toBeLessThanOrEqual(sent);
  }
}

function vectorOf(pusher: number, at: number): number[] {
  return Array.from({ length: DIM }, (_, dim) => (dim === 0 ? pusher : (at + dim) % 1_000));
}

interface Page {
  revisions: { event_timestamp: string; vector: number[] }[];
  next: string | null;
}

async function timelineOf(
  server: ServerProcess,
  entity_id: string,
): Promise<{ event: number; vector: number[] }[]> {
  const all: { event: number; vector: number[] }[] = [];
  let cursor: string | null = null;
  do {
    const page: Page = await server.ask('POST', '/v1/timeline', {
      feature_view: 'job',
      entity_id,
      limit: 100,
      include_vectors: true,
      ...(cursor !== null && { cursor }),
    });
    for (const { event_timestamp, vector } of page.revisions) {
      all.push({ event: parseInstant(event_timestamp), vector });
    }
    cursor = page.next;
  } while (cursor !== null);
  return all;
}

test(`after each of ${KILLS} kills under load the store holds all that was acknowledged, exactly once (A9)`, async () => {
  const data = tempDirectory();
  const random = seeded(20_261_121);
  const pushers = Array.from({ length: PUSHERS }, (_, number) => new Pusher(number));
  for (let kill = 0; kill < KILLS; kill++) {
    const server = await ServerProcess.start(data);
    if (kill === 0) {
      await server.ask('PUT', '/v1/feature-views/job', {
        entity: 'job',
        join_key: 'job_id',
        version: 'v1',
        dim: DIM,
        dtype: 'float32',
      });
    }
    for (const pusher of pushers) await pusher.check(server);
    const before = pushers.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    const running = pushers.map(async (pusher) => pusher.run(server, random));
    const enough = 200 + random(800);
    await expect
      .poll(() => pushers.reduce((sum, { acknowledged }) => sum + acknowledged, 0) - before, {
        timeout: 60_000,
        interval: 1,
      })
      .toBeGreaterThan(enough);
    await server.kill();
    await Promise.all(running);
  }
  const server = await ServerProcess.start(data);
  for (const pusher of pushers) await pusher.check(server);
  expect(await server.terminate()).toBe(0);
  expect((await verifyStore(data)).problems).toEqual([]);
});
