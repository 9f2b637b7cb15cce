import { Pace } from '../ground/pace.ts';
import type { Change } from './change-log.ts';
import { Chunk, TOMBSTONE } from './chunk.ts';
import { isEntityId } from './entity-id.ts';
import { OLDEST, type SourcePosition, type TimelineKey } from './keys.ts';
import { NumberSet } from './number-set.ts';
import { compareOrder, type OrderKey } from './order.ts';
import type { Counters, VersionFiles } from './version-files.ts';

/** Something in the files that is not as it was written, or does not fit the rest. */
export interface Problem {
  /** View and version, and what in it. */
  where: string;
  what: string;
}

export interface Checked {
  chunks: number;
  revisions: number;
  vectors: number;
  inputs: number;
  /** Of inputs that are kept. */
  texts: number;
  changes: number;
}

interface VerifyOptions {
  signal?: AbortSignal;
  /** No seq may be above it. */
  seqReserved?: number;
  /** Another process writes meanwhile: totals move, and are not compared. */
  isMoving?: boolean;
  /** Entities of which nothing may be there. */
  isErased?: ((id: string) => boolean) | undefined;
  /** Hears of each thousandth thing checked. */
  onProgress?: (checked: number) => void;
}

const PAGE = 256;

/**
 * Checks every checksum, order, reference and counter of one version's files, in slices, so that
 * others have their turns.
 */
export async function verifyFiles(
  files: VersionFiles,
  report: (where: string, what: string) => void,
  options: VerifyOptions = {},
): Promise<Checked> {
  const check = new Check(files, report, options);
  await check.run();
  return check.checked;
}

class Check {
  readonly checked: Checked = {
    chunks: 0,
    revisions: 0,
    vectors: 0,
    inputs: 0,
    texts: 0,
    changes: 0,
  };
  private files: VersionFiles;
  private report: (where: string, what: string) => void;
  private options: VerifyOptions;
  private pace = new Pace();
  private steps = 0;
  private entities = 0;
  private vectorIds = new NumberSet();
  private lastVectorId = -1;

  constructor(
    files: VersionFiles,
    report: (where: string, what: string) => void,
    options: VerifyOptions,
  ) {
    this.files = files;
    this.report = report;
    this.options = options;
  }

  async run(): Promise<void> {
    await this.vectors();
    await this.timelines();
    await this.log();
    await this.inputs();
    await this.texts();
    await this.fields();
    this.offsets();
    await this.deadLetters();
    if (!this.options.isMoving) this.counters();
  }

  private async vectors(): Promise<void> {
    const { vectors } = this.files;
    for (const id of vectors.ids()) {
      this.vectorIds.add(id);
      this.lastVectorId = id;
      this.attempt('the vector pool', () => vectors.verify(id));
      this.checked.vectors++;
      if (this.step()) await this.rest();
    }
  }

  private async timelines(): Promise<void> {
    const chunk = new Chunk();
    let entity: string | undefined;
    let last: OrderKey | undefined;
    for (const { key, bytes } of this.files.timelines.entries()) {
      const id = typeof key === 'string' ? key : key.id;
      const at = nameOf(id);
      if (id !== entity) {
        if (entity !== undefined) this.report(nameOf(entity), 'it has no head');
        entity = id;
        last = undefined;
        this.entities++;
        if (!isEntityId(id)) this.report(at, 'the entity id is not well-formed');
        if (this.options.isErased?.(id)) this.report(at, 'the entity was erased (A8)');
        if (typeof key !== 'string' && compareOrder(key, OLDEST) !== 0) {
          this.report(at, 'its oldest sealed chunk does not reach down to before everything');
        }
      }
      const isReadable = this.attempt(at, () => chunk.point(bytes, bytes.byteLength));
      if (isReadable) this.attempt(at, () => this.chunk(at, key, chunk, last));
      this.checked.chunks++;
      if (this.step()) await this.rest();
      if (typeof key === 'string') entity = last = undefined;
      else if (isReadable) last = orderAt(chunk, chunk.count - 1);
    }
    if (entity !== undefined) this.report(nameOf(entity), 'it has no head');
  }

  private chunk(at: string, key: TimelineKey, chunk: Chunk, before: OrderKey | undefined): void {
    const { report, files, options } = this;
    const isHead = typeof key === 'string';
    if (isHead && chunk.hasSealed !== (before !== undefined)) {
      report(at, 'the head and the sealed chunks disagree on whether there are any');
    }
    if (!isHead && compareOrder(orderAt(chunk, 0), key) < 0) {
      report(at, 'a sealed chunk reaches below its key');
    }
    let previous = before;
    for (let row = 0; row < chunk.count; row++) {
      const order = orderAt(chunk, row);
      if (previous !== undefined && compareOrder(previous, order) >= 0) {
        report(at, `the revision of seq ${order.seq} is out of order (A2)`);
      }
      previous = order;
      const vectorId = chunk.vectorId(row);
      // A vector that came while this was running is looked for in the file itself.
      const isThere =
        vectorId === TOMBSTONE || this.vectorIds.has(vectorId) || files.vectors.has(vectorId);
      if (!isThere) report(at, `the vector ${vectorId} of seq ${order.seq} is missing`);
      if (!options.isMoving && order.seq > (options.seqReserved ?? Infinity)) {
        report(at, `the seq ${order.seq} was never reserved`);
      }
      if (
        chunk.leastKnown > order.known ||
        chunk.leastCreated > chunk.created(row) ||
        chunk.leastSeq > order.seq
      ) {
        report(at, `the revision of seq ${order.seq} is below its chunk's header`);
      }
    }
    this.checked.revisions += chunk.count;
  }

  /** Every change must stand in a timeline just so; with equal counts there is nothing else in one. */
  private async log(): Promise<void> {
    const { files } = this;
    let after = 0;
    for (;;) {
      let changes: Change[] = [];
      const isReadable = this.attempt('the log', () => {
        changes = files.log.read(after, Number.MAX_SAFE_INTEGER, PAGE);
      });
      if (!isReadable) return;
      for (const change of changes) {
        this.change(change);
        this.checked.changes++;
        if (this.step()) await this.rest();
      }
      if (changes.length < PAGE) return;
      after = changes.at(-1)!.seq;
    }
  }

  private change(change: Change): void {
    const { files, options } = this;
    const report = (what: string): void => this.report(`the log, seq ${change.seq}`, what);
    try {
      // While others write, an erasure may have come between.
      if (!options.isMoving && !files.log.has(change.seq)) report('it is not found');
      if (!files.timelines.has(change.entityId, change) && !options.isMoving) {
        report(`${nameOf(change.entityId)} has no such revision`);
      }
    } catch (error) {
      report(messageOf(error));
    }
  }

  private async inputs(): Promise<void> {
    const { options } = this;
    const { inputs, texts, vectors } = this.files;
    let after: Uint8Array | undefined;
    for (;;) {
      const page = inputs.page(after, PAGE);
      for (const { hash, vectorId } of page) {
        this.checked.inputs++;
        const name = `the input ${Buffer.from(hash).toString('hex')}`;
        if (vectorId === undefined) {
          this.report(name, 'it does not have the checksum it was written with');
        } else if (!vectors.has(vectorId)) {
          this.report(name, `its vector ${vectorId} is missing`);
        } else if (!options.isMoving && inputs.vectorId(hash) !== vectorId) {
          this.report(name, 'it is not found');
        } else if (texts !== undefined && !options.isMoving) {
          this.attempt(name, () => {
            if (texts.isOf(vectorId, hash)) return;
            this.report(name, `the text of its vector ${vectorId} is not that input`);
          });
        }
        if (this.step()) await this.rest();
      }
      if (page.length < PAGE) return;
      after = page.at(-1)!.hash;
    }
  }

  private async texts(): Promise<void> {
    const { texts, vectors } = this.files;
    if (texts === undefined) return;
    for (const id of texts.ids()) {
      const name = `the text of vector ${id}`;
      this.checked.texts++;
      if (!vectors.has(id)) this.report(name, 'its vector is missing');
      this.attempt(name, () => texts.get(id));
      if (this.step()) await this.rest();
    }
  }

  private async fields(): Promise<void> {
    const { fields, timelines } = this.files;
    const head = new Chunk();
    let entity: string | undefined;
    try {
      for (const { entityId } of fields.entries(PAGE)) {
        if (entityId !== entity) {
          entity = entityId;
          const at = `the fields of ${JSON.stringify(entityId)}`;
          if (this.options.isErased?.(entityId)) this.report(at, 'the entity was erased (A8)');
          else if (!this.options.isMoving && !timelines.head(entityId, head)) {
            this.report(at, 'it has no timeline');
          }
        }
        if (this.step()) await this.rest();
      }
    } catch (error) {
      this.options.signal?.throwIfAborted();
      // Where the next one stands is not known either.
      this.report('the fields', messageOf(error));
    }
  }

  private offsets(): void {
    this.attempt('the offsets', () => {
      for (const { key, next } of this.files.offsets.all()) {
        const name = `the offset of ${key.source} in ${key.topic}/${key.partition}`;
        if (this.files.offsets.next(key) !== next) this.report(name, 'it is not found');
      }
    });
  }

  private async deadLetters(): Promise<void> {
    let after: SourcePosition | undefined;
    for (;;) {
      let page: SourcePosition[] = [];
      const isReadable = this.attempt('the dead letters', () => {
        page = this.files.deadLetters.list(PAGE, after).map(({ position }) => position);
      });
      if (!isReadable || page.length === 0) return;
      after = page.at(-1);
      if (this.step()) await this.rest();
    }
  }

  private counters(): void {
    let counters: Counters | undefined;
    this.attempt('the counters', () => {
      this.files.checkCounters();
      counters = this.files.counters();
    });
    if (counters === undefined) return;
    const { nextVectorId, revisions, entities } = counters;
    if (this.lastVectorId >= nextVectorId) {
      this.report(
        'the counters',
        `vector ${this.lastVectorId} is stored, the next id is ${nextVectorId}`,
      );
    }
    for (const [name, counted, kept] of [
      ['revisions in timelines', this.checked.revisions, revisions],
      ['entities', this.entities, entities],
      ['changes in the log', this.files.log.count(), revisions],
    ] as const) {
      if (counted !== kept) this.report('the counters', `${counted} ${name}, expected ${kept}`);
    }
  }

  /** Counts one thing more as checked; whether it is time to rest. */
  private step(): boolean {
    if (++this.steps % 1_000 === 0) this.options.onProgress?.(this.steps);
    // A look at the clock for each would cost more than what is checked.
    return this.steps % 32 === 0;
  }

  private async rest(): Promise<void> {
    this.options.signal?.throwIfAborted();
    await this.pace.rest();
  }

  private attempt(at: string, check: () => void): boolean {
    try {
      check();
      return true;
    } catch (error) {
      // Where it is stands before it already.
      const { place } = this.files.environment;
      this.report(at, messageOf(error).replace(`${place}: `, ''));
      return false;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function nameOf(id: string): string {
  return `the timeline of ${JSON.stringify(id)}`;
}

function orderAt(chunk: Chunk, at: number): OrderKey {
  return { event: chunk.event(at), known: chunk.known(at), seq: chunk.seq(at) };
}
