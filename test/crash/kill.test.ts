import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { formatInstant, micros, parseInstant, systemClock } from '../../src/ground/time.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { seeded } from '../model/random.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';

const KILLS = Number(process.env['CRASH_KILLS'] ?? 4);
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

/** Does meanwhile what is done to a store beside pushing: compaction, erasure, retention. */
class Keeper {
  private erased: string[] = [];
  private made = 0;
  /** The last event that was acknowledged in the view with retention, µs. */
  private last = 0;

  async run(server: ServerProcess): Promise<void> {
    const chores = [() => this.compact(server), () => this.erase(server), () => this.push(server)];
    await Promise.all(
      chores.map(async (chore) => {
        try {
          for (;;) await chore();
        } catch (error) {
          if (!(error instanceof TypeError)) throw error;
        }
      }),
    );
  }

  private async compact(server: ServerProcess): Promise<void> {
    await server.ask('POST', '/v1/compact', {});
  }

  /** An entity comes, and is erased. */
  private async erase(server: ServerProcess): Promise<void> {
    const entity_id = `x${this.made++}`;
    await server.ask('POST', '/v1/push', {
      feature_view: 'job',
      known: 'event',
      records: [{ entity_id, event_timestamp: formatInstant(micros(1)), vector: vectorOf(9, 1) }],
    });
    await server.ask('POST', '/v1/erase', { entity: 'job', entity_ids: [entity_id] });
    this.erased.push(entity_id);
  }

  private async push(server: ServerProcess): Promise<void> {
    const now = systemClock();
    await server.ask('POST', '/v1/push', {
      feature_view: 'brief',
      records: [{ entity_id: 'now', event_timestamp: formatInstant(now), vector: [1] }],
    });
    this.last = now;
  }

  /** Who was erased is so, and gone from all databases soon; what is in force is so. */
  async check(server: ServerProcess): Promise<void> {
    const look = async (feature_view: string, entity_ids: string[]) => {
      const { results } = await server.ask<{ results: Looked[] }>('POST', '/v1/lookup', {
        lookups: [{ feature_view, entity_ids }],
      });
      return results[0]!;
    };
    if (this.erased.length > 0) {
      const { reasons } = await look('job', this.erased.slice(-500));
      expect(new Set(reasons)).toEqual(new Set(['ERASED']));
    }
    await expect
      .poll(async () => {
        const { erasures } = await server.ask<{ erasures: { removed_at: string | null }[] }>(
          'GET',
          '/v1/erasures',
        );
        return erasures.filter(({ removed_at }) => removed_at === null).length;
      })
      .toBe(0);
    if (this.last === 0) return;
    const { statuses, event_timestamps } = await look('brief', ['now']);
    expect(statuses).toEqual(['PRESENT']);
    expect(parseInstant(event_timestamps[0]!)).toBeGreaterThanOrEqual(this.last);
  }
}

interface Looked {
  statuses: string[];
  reasons: (string | null)[];
  event_timestamps: (string | null)[];
}

/** Rounds of retention as often as they can be. */
function configOf(folder: string): string {
  const path = join(folder, 'tidemark.yaml');
  writeFileSync(path, 'maintenance: { interval_seconds: 1, erased_within_seconds: 0 }\n');
  return path;
}

test(`after each of ${KILLS} kills under load, with compaction, erasure and retention going on, the store holds all that was acknowledged, exactly once, and nothing that was erased (A8–A10)`, async () => {
  const data = tempDirectory();
  const more = ['--config', configOf(tempDirectory())];
  const random = seeded(20_261_121);
  const pushers = Array.from({ length: PUSHERS }, (_, number) => new Pusher(number));
  const keeper = new Keeper();
  for (let kill = 0; kill < KILLS; kill++) {
    const server = await ServerProcess.start(data, more);
    if (kill === 0) {
      const view = { version: 'v1', dtype: 'float32', join_key: 'id' };
      await server.ask('PUT', '/v1/feature-views/job', { ...view, entity: 'job', dim: DIM });
      await server.ask('PUT', '/v1/feature-views/brief', {
        ...view,
        entity: 'moment',
        dim: 1,
        retention: 'PT1S',
      });
    }
    for (const pusher of pushers) await pusher.check(server);
    await keeper.check(server);
    const before = pushers.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    const running = pushers.map(async (pusher) => pusher.run(server, random));
    running.push(keeper.run(server));
    const enough = 200 + random(1_200);
    await expect
      .poll(() => pushers.reduce((sum, { acknowledged }) => sum + acknowledged, 0) - before, {
        timeout: 60_000,
        interval: 1,
      })
      .toBeGreaterThan(enough);
    await server.kill();
    await Promise.all(running);
  }
  const server = await ServerProcess.start(data, more);
  for (const pusher of pushers) await pusher.check(server);
  await keeper.check(server);
  expect(await server.terminate()).toBe(0);
  expect((await verifyStore(data)).problems).toEqual([]);
});
