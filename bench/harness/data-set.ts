import { micros, systemClock } from '../../src/ground/time.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { openStore } from '../../src/store/store.ts';
import { seeded } from './random.ts';

/** Vectors of float32, the same in every run, that anybody can make anew from their numbers. */
export interface DataSet {
  dim: number;
  /** Of each entity, a day apart, the first at the epoch of the data. */
  revisions: number;
  /** By feature view, how many entities there are. */
  views: Readonly<Record<string, number>>;
}

/** Event time of the first revision of all, µs: 2026-01-01. */
export const FIRST_EVENT = Date.UTC(2026, 0, 1) * 1_000;
export const DAY = 86_400 * 1e6;

const NOISE = 65_536;
const BATCH = 2_000;

/** Ids are of one length, so that requests are. */
export function idOf(view: string, entity: number): string {
  return `${view}-${String(entity).padStart(8, '0')}`;
}

/** Writes the vectors of a data set: each differs from all others of its view. */
export class Vectors {
  private noise: Float32Array;
  private dim: number;

  constructor(dim: number) {
    const random = seeded(7);
    this.dim = dim;
    this.noise = Float32Array.from({ length: NOISE + dim }, () => random() - 0.5);
  }

  /** `out` has exactly the bytes of one vector, and begins on a multiple of four. */
  write(entity: number, revision: number, out: Uint8Array): void {
    const { dim, noise } = this;
    const numbers = new Float32Array(out.buffer, out.byteOffset, dim);
    const from = (entity * 31 + revision * 7_919) % NOISE;
    numbers.set(noise.subarray(from, from + dim));
    numbers[0] = entity;
    numbers[1] = revision;
  }
}

/** Makes a data directory of it with the program's own store; its revisions come day after day. */
export async function makeStore(directory: string, dataSet: DataSet): Promise<void> {
  const { dim, revisions, views } = dataSet;
  console.error(`making ${dataSetText(dataSet)}`);
  const vectors = new Vectors(dim);
  const store = openStore(directory, systemClock);
  for (const [view, entities] of Object.entries(views)) {
    const created_timestamp = micros(0);
    const join_key = `${view}_id`;
    const v1 = { version: 'v1', dim, dtype: 'float32' as const, created_timestamp };
    const aliases = { current: 'v1' };
    const versions = { v1 };
    store.createView({ name: view, entity: view, join_key, created_timestamp, aliases, versions });
    // One batch is put together while the one before is on its way to the disk.
    let committed: Promise<unknown> = Promise.resolve();
    for (let revision = 0; revision < revisions; revision++) {
      const event = FIRST_EVENT + revision * DAY;
      for (let from = 0; from < entities; from += BATCH) {
        const rows = new RevisionBatch(dim * 4, BATCH);
        for (let entity = from; entity < Math.min(entities, from + BATCH); entity++) {
          vectors.write(entity, revision, rows.nextPayload());
          rows.addRow(idOf(view, entity), event, event, rows.addFilled());
        }
        await committed;
        committed = store.commit(view, 'v1', { rows });
      }
    }
    await committed;
  }
  await store.close();
}

/** 50,000 job + 5,000 member, 1 revision of 768 float32 each */
export function dataSetText({ dim, revisions, views }: DataSet): string {
  const counts = Object.entries(views).map(
    ([view, entities]) => `${entities.toLocaleString('en')} ${view}`,
  );
  const each = revisions === 1 ? '1 revision' : `${revisions} revisions`;
  return `${counts.join(' + ')}, ${each} of ${dim} float32 each`;
}
