import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { Catalogue } from './catalogue.ts';
import { Chunk, TOMBSTONE } from './chunk.ts';
import type { Dtype } from './dtype.ts';
import { isEntityId } from './entity-id.ts';
import { DATA_FILE } from './environment.ts';
import { checkDirectory } from './format.ts';
import type { TimelineKey } from './keys.ts';
import { lockDirectory } from './lock.ts';
import { compareOrder, type OrderKey } from './order.ts';
import { VersionStore } from './version-store.ts';

/** Something in the files that is not as it was written, or does not fit the rest. */
interface Problem {
  /** View and version, and what in it. */
  where: string;
  what: string;
}

export interface Verification {
  problems: Problem[];
  checked: { versions: number; chunks: number; revisions: number; vectors: number; inputs: number };
  /** False while another process writes: totals move, and were not compared. */
  counters: boolean;
}

/** Further problems are likely more of the same. */
const PROBLEMS_MAX = 1_000;

/**
 * Checks every checksum, order, reference and counter of a data directory; changes nothing, and
 * may run beside a server. `onProgress` hears of each thousandth chunk or vector.
 * Throws STORE_FORMAT where there is no data directory of this format.
 */
export async function verifyStore(
  directory: string,
  onProgress: (done: { view: string; version: string; checked: number }) => void = () => {},
): Promise<Verification> {
  checkDirectory(directory);
  const lock = tryLock(directory);
  const catalogue = new Catalogue(directory);
  const result: Verification = {
    problems: [],
    checked: { versions: 0, chunks: 0, revisions: 0, vectors: 0, inputs: 0 },
    counters: lock !== undefined,
  };
  try {
    for (const view of catalogue.views()) {
      for (const { version, dim, dtype } of Object.values(view.versions)) {
        const folder = catalogue.folder(view.name, version);
        const where = `${view.name}@${version}`;
        if (!existsSync(join(folder, DATA_FILE))) {
          result.problems.push({ where, what: `there is no ${DATA_FILE} in its folder ${folder}` });
          continue;
        }
        const store = open(folder, dim, dtype);
        if (store instanceof TidemarkError) {
          result.problems.push({ where, what: store.message });
          continue;
        }
        try {
          const check = new VersionCheck(store, where, result, (checked) =>
            onProgress({ view: view.name, version, checked }),
          );
          check.run(catalogue.seqReserved());
        } finally {
          await store.close();
        }
        result.checked.versions++;
      }
    }
  } finally {
    await catalogue.close();
    lock?.release();
  }
  return result;
}

function open(folder: string, dim: number, dtype: Dtype): VersionStore | TidemarkError {
  try {
    return new VersionStore(folder, dim, dtype);
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
}

function tryLock(directory: string): { release(): void } | undefined {
  try {
    return lockDirectory(directory);
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'STORE_LOCKED') return undefined;
    throw error;
  }
}

class VersionCheck {
  private store: VersionStore;
  private where: string;
  private result: Verification;
  private onProgress: (checked: number) => void;
  private checked = 0;
  private revisions = 0;
  private entities = 0;
  private vectorIds = new Set<number>();

  constructor(
    store: VersionStore,
    where: string,
    result: Verification,
    onProgress: (checked: number) => void,
  ) {
    this.store = store;
    this.where = where;
    this.result = result;
    this.onProgress = onProgress;
  }

  run(seqReserved: number): void {
    this.vectors();
    this.timelines(seqReserved);
    this.inputs();
    if (this.result.counters) this.counters();
  }

  private vectors(): void {
    for (const id of this.store.vectors.ids()) {
      this.vectorIds.add(id);
      this.attempt('the vector pool', () => this.store.vectors.verify(id));
      this.result.checked.vectors++;
      this.step();
    }
  }

  private timelines(seqReserved: number): void {
    const chunk = new Chunk();
    let entity: string | undefined;
    let last: OrderKey | undefined;
    for (const { key, bytes } of this.store.timelines.entries()) {
      const id = typeof key === 'string' ? key : key.id;
      const at = `the timeline of ${JSON.stringify(id)}`;
      if (id !== entity) {
        if (entity !== undefined && last !== undefined)
          this.report(at, 'the one before has no head');
        entity = id;
        last = undefined;
        this.entities++;
        if (!isEntityId(id)) this.report(at, 'the entity id is not well-formed');
      }
      this.attempt(at, () => {
        chunk.point(bytes, bytes.byteLength);
        this.chunk(at, key, chunk, last, seqReserved);
      });
      this.revisions += chunk.count;
      this.result.checked.chunks++;
      this.step();
      if (typeof key === 'string') entity = last = undefined;
      else last = orderAt(chunk, chunk.count - 1);
    }
  }

  private chunk(
    at: string,
    key: TimelineKey,
    chunk: Chunk,
    before: OrderKey | undefined,
    seqReserved: number,
  ): void {
    const isHead = typeof key === 'string';
    if (isHead && chunk.hasSealed !== (before !== undefined)) {
      this.report(at, 'the head and the sealed chunks disagree on whether there are any');
    }
    if (!isHead && compareOrder(orderAt(chunk, 0), key) < 0) {
      this.report(at, 'a sealed chunk reaches below its key');
    }
    let previous = before;
    for (let row = 0; row < chunk.count; row++) {
      const order = orderAt(chunk, row);
      if (previous !== undefined && compareOrder(previous, order) >= 0) {
        this.report(at, `the revision of seq ${order.seq} is out of order (A2)`);
      }
      previous = order;
      const vectorId = chunk.vectorId(row);
      // A vector that came while this was running is looked for in the file itself.
      const isThere =
        vectorId === TOMBSTONE || this.vectorIds.has(vectorId) || this.store.vectors.has(vectorId);
      if (!isThere) this.report(at, `the vector ${vectorId} of seq ${order.seq} is missing`);
      if (order.seq > seqReserved && this.result.counters) {
        this.report(at, `the seq ${order.seq} was never reserved`);
      }
      if (
        chunk.leastKnown > order.known ||
        chunk.leastCreated > chunk.created(row) ||
        chunk.leastSeq > order.seq
      ) {
        this.report(at, `the revision of seq ${order.seq} is below its chunk's header`);
      }
    }
    this.result.checked.revisions += chunk.count;
  }

  private inputs(): void {
    for (const { hash, vectorId } of this.store.inputs.entries()) {
      this.result.checked.inputs++;
      if (!this.store.vectors.has(vectorId)) {
        const name = Buffer.from(hash).toString('hex');
        this.report('the pool of inputs', `the vector ${vectorId} of input ${name} is missing`);
      }
    }
  }

  private counters(): void {
    const { nextVectorId, revisions, entities } = this.store.counters();
    const last = Math.max(-1, ...[...this.vectorIds].slice(-1));
    if (last >= nextVectorId) {
      this.report('the counters', `vector ${last} is stored, the next id is ${nextVectorId}`);
    }
    for (const [name, counted, kept] of [
      ['revisions in timelines', this.revisions, revisions],
      ['entities', this.entities, entities],
      ['changes in the log', this.store.log.count(), revisions],
    ] as const) {
      if (counted !== kept) this.report('the counters', `${counted} ${name}, expected ${kept}`);
    }
  }

  private step(): void {
    if (++this.checked % 1_000 === 0) this.onProgress(this.checked);
  }

  private attempt(at: string, check: () => void): void {
    try {
      check();
    } catch (error) {
      this.report(at, error instanceof Error ? error.message : String(error));
    }
  }

  private report(at: string, what: string): void {
    if (this.result.problems.length < PROBLEMS_MAX) {
      this.result.problems.push({ where: `${this.where}: ${at}`, what });
    }
  }
}

function orderAt(chunk: Chunk, at: number): OrderKey {
  return { event: chunk.event(at), known: chunk.known(at), seq: chunk.seq(at) };
}
