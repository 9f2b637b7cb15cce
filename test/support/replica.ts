import { Registry } from 'prom-client';
import { expect, onTestFinished } from 'vitest';

import type { Deps } from '../../src/api/deps.ts';
import { limitsSchema } from '../../src/api/limits.ts';
import { buildServer } from '../../src/api/server.ts';
import { MICROS_MAX, micros } from '../../src/ground/time.ts';
import { Follower } from '../../src/ingest/follow/follower.ts';
import type { CatalogueEvent } from '../../src/store/catalogue.ts';
import type { Revision } from '../../src/store/chunk.ts';
import { TOMBSTONE } from '../../src/store/chunk.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { readHistory } from '../../src/timetravel/history.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, KNOWLEDGE } from '../../src/timetravel/question.ts';
import { tempDirectory } from './temp.ts';

/** Where a replica's log goes. */
export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** A store that can be stopped and opened again, with or without a server. */
export class Node {
  readonly directory: string;
  store: Store;
  url = '';
  follower: Follower | undefined;
  private clock: () => number;
  private server: Awaited<ReturnType<typeof buildServer>> | undefined;

  constructor(clock: () => number, directory = tempDirectory()) {
    this.clock = clock;
    this.directory = directory;
    this.store = openStore(directory, () => micros(clock()));
    onTestFinished(async () => this.stop());
  }

  /** Answers on a port, the one that it had before where it had one. */
  async serve(): Promise<string> {
    const { store } = this;
    // What a replica asks of its leader needs no more of the process than this.
    const deps: Partial<Deps> = {
      store,
      limits: limitsSchema.parse({}),
      maxFutureSkew: 300e6,
      logger: false,
      registry: new Registry(),
    };
    this.server = await buildServer(deps as Deps);
    const port = this.url === '' ? 0 : Number(new URL(this.url).port);
    this.url = await this.server.listen({ host: '127.0.0.1', port });
    return this.url;
  }

  follow(url: string): Follower {
    const options = { url, store: this.store, log: SILENT, backoff: () => 1 };
    this.follower = new Follower(options);
    this.follower.start();
    return this.follower;
  }

  /** Stops all that goes on, in order. */
  async stop(): Promise<void> {
    await this.server?.close();
    await this.follower?.stop();
    await this.store.close();
    this.server = this.follower = undefined;
  }

  reopen(): void {
    this.store = openStore(this.directory, () => micros(this.clock()));
  }
}

/** Waits until the replica has all that its leader has. */
export async function caughtUp(leader: Store, replica: Store): Promise<void> {
  await expect
    .poll(() => replica.snapshot, { timeout: 30_000, interval: 5 })
    .toBeGreaterThanOrEqual(leader.snapshot);
}

/** Both answer any question at the same snapshot alike: by their timelines, and by lookups. */
export function expectAlike(leader: Store, replica: Store): void {
  expect(replica.catalogue.views()).toEqual(leader.catalogue.views());
  expect(eventsOf(replica)).toEqual(eventsOf(leader));
  expect(replica.catalogue.lineage()).toEqual(leader.catalogue.lineage());
  const { snapshot } = leader;
  for (const { name, versions } of leader.catalogue.views()) {
    for (const version of Object.keys(versions)) {
      const [one, other] = [leader.version(name, version), replica.version(name, version)];
      const ids = idsOf(one);
      for (const id of ids) {
        expect(timelineOf(other, id, snapshot), `${name}@${version} ${id}`).toEqual(
          timelineOf(one, id, snapshot),
        );
      }
      // The replica may not have removed yet what retention let go; it has nothing else.
      expect(idsOf(other).filter((id) => timelineOf(other, id, snapshot).length > 0)).toEqual(
        ids.filter((id) => timelineOf(one, id, snapshot).length > 0),
      );
      const asked = [...ids, 'nobody'];
      expect(answersOf(other, asked, snapshot)).toEqual(answersOf(one, asked, snapshot));
    }
  }
}

export function eventsOf({ catalogue }: Store): CatalogueEvent[] {
  return [...catalogue.firstEvents(), ...catalogue.events(0, Number.MAX_SAFE_INTEGER, 100_000)];
}

export function idsOf({ timelines }: VersionStore): string[] {
  return timelines.ids(undefined, 1_000_000);
}

function timelineOf(version: VersionStore, id: string, snapshot: number): unknown[] {
  const range = { from: -MICROS_MAX, to: MICROS_MAX, below: undefined, snapshot };
  return readHistory(version, id, range, 1_000_000).map((revision: Revision) => {
    const bytes = Buffer.alloc(version.vectors.vectorBytes);
    if (revision.vectorId !== TOMBSTONE) version.vectors.copyInto(revision.vectorId, bytes, 0);
    return { ...revision, vector: bytes.toString('hex') };
  });
}

function answersOf(version: VersionStore, ids: readonly string[], snapshot: number): unknown[] {
  const moments = [undefined, 0, 5, 50, 500, 5_000, 50_000];
  return moments.flatMap((asOf) =>
    KNOWLEDGE.map((knowledge) => {
      const resolution = resolveMany(version, ids, {
        asOf,
        boundary: 'inclusive',
        knowledge,
        knownAt: undefined,
        maxAge: ANY_AGE,
        now: 0,
        snapshot,
      });
      const vectors = Buffer.alloc(ids.length * version.vectors.vectorBytes);
      gather(version.vectors, resolution, vectors);
      return { asOf, knowledge, resolution, vectors: vectors.toString('hex') };
    }),
  );
}
