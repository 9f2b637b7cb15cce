import { expect, onTestFinished } from 'vitest';

import type { AskedBackfill, BackfillStatus } from '../../../src/ingest/backfill/backfills.ts';
import { type AskedOrigin, hasEnded } from '../../../src/ingest/backfill/record.ts';
import { tempDirectory } from '../../support/temp.ts';
import { type Fixture, openFixture, type Opening, type Said } from './fixture.ts';
import { held, type Held, say } from './revisions.ts';

/** A store with a view of two versions, which are filled with texts; closed when the test is done. */
export class World {
  readonly directory: string;
  readonly fixture: Fixture;

  private constructor(directory: string, fixture: Fixture) {
    this.directory = directory;
    this.fixture = fixture;
  }

  static async open(opening: Partial<Opening> = {}): Promise<World> {
    const directory = opening.directory ?? tempDirectory();
    const fixture = await openFixture({ ...opening, directory });
    const { backfills, sources } = fixture;
    const world = new World(directory, fixture);
    onTestFinished(() => world.close());
    if (opening.kafka !== undefined) sources.start();
    await backfills.start();
    return world;
  }

  async close(): Promise<void> {
    const { backfills, sources, store } = this.fixture;
    await backfills.stop();
    await sources.stop();
    await store.close();
  }

  /** What a live stream says to a version. */
  async say(version: string, ...said: Said[]): Promise<void> {
    await say(this.fixture, version, said);
  }

  /** Fills `v2`, and waits until that is over. */
  async backfill(from: AskedOrigin, more: Partial<AskedBackfill> = {}): Promise<BackfillStatus> {
    const asked = { view: 'job', version: 'v2', from, window: {}, ...more };
    const { record } = await this.fixture.backfills.submit(asked);
    return this.ended(record.id);
  }

  async ended(id: string): Promise<BackfillStatus> {
    const { backfills } = this.fixture;
    await expect.poll(() => hasEnded(backfills.mustGet(id).record), { timeout: 60_000 }).toBe(true);
    return backfills.mustGet(id);
  }

  /** The revisions of a version in the order of their commits. */
  held(version: string): Held[] {
    return held(this.fixture.store, version);
  }
}
