import { setTimeout as delay } from 'node:timers/promises';

import { TidemarkError } from '../../ground/errors.ts';
import {
  type CommitRequest,
  type CommitResult,
  DELETED,
  RevisionBatch,
} from '../../store/batch.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import { vectorBytes, writeNumbers } from '../../store/dtype.ts';
import type { FieldRow } from '../../store/fields.ts';
import type { PartitionKey, SourcePosition } from '../../store/keys.ts';
import type { Store } from '../../store/store.ts';
import type { VersionStore } from '../../store/version-store.ts';
import { nameOf } from '../../store/versions.ts';
import type { AddedTexts, TextRecord } from '../entity-texts.ts';
import { isSameVersion } from '../kafka/destination.ts';
import type { AddOptions, Pipeline, PipelineCounts } from '../pipeline.ts';
import { type Rejection, rejection } from '../source-record.ts';
import type { HistoryEvent } from './history.ts';
import { type BackfillRecord, newCounts, sourceOf } from './record.ts';

/** A page waits so long for those who write beside it, ms: then it has its turn all the same. */
const PATIENCE_MS = 250;

/** Changes of a log that are read at once. */
const LOG_PAGE = 1_000;

/** Events ready for a commit. */
export interface Ready {
  rows: RevisionBatch;
  fields?: FieldRow[];
  /** Of events that cannot become revisions. */
  rejected: (Rejection & { offset: number })[];
  skipped: number;
  erased: number;
  inputs: PipelineCounts;
  /** To be called when the commit is over, or is not to come about. */
  release: () => void;
}

export interface TargetNeeds {
  store: Store;
  pipeline: Pick<Pipeline, 'addRecords'>;
}

/** The model version that a backfill fills, and which events it wants. */
export class BackfillTarget {
  readonly model: ModelVersion;
  private needs: TargetNeeds;
  private record: BackfillRecord;
  private entities: ReadonlySet<string> | undefined;

  /** Throws VERSION_NOT_FOUND where the version is not the one that it was asked for. */
  constructor(
    needs: TargetNeeds,
    record: BackfillRecord,
    entities: ReadonlySet<string> | undefined,
  ) {
    this.needs = needs;
    this.record = record;
    this.entities = entities;
    this.model = this.requireSame();
  }

  /** Taken anew after each await. Throws VERSION_NOT_FOUND. */
  versionStore(): VersionStore {
    const { view, version } = this.record;
    this.requireSame();
    return this.needs.store.version(view, version);
  }

  /** Whether the event is in the window, and of an entity that is asked for. */
  wants({ entityId, event }: Pick<HistoryEvent, 'entityId' | 'event'>): boolean {
    const { from = -Infinity, to = Infinity } = this.record.window;
    return event >= from && event < to && this.entities?.has(entityId) !== false;
  }

  /** Nothing about an erased entity is embedded, or stored (A8). */
  isErased(entityId: string): boolean {
    const { erasures } = this.versionStore();
    return !erasures.none && erasures.has(entityId);
  }

  /** Makes events ready for a commit, in their order. Rejects as `Pipeline.addRecords` does. */
  async prepare(events: readonly HistoryEvent[], signal?: AbortSignal): Promise<Ready> {
    const { model } = this;
    const asked = events.filter((event) => this.wants(event));
    const wanted = asked.filter(({ entityId }) => !this.isErased(entityId));
    const rows = new RevisionBatch(vectorBytes(model.dim, model.dtype), wanted.length);
    const ready: Ready = {
      rows,
      rejected: [],
      skipped: events.length - asked.length,
      erased: asked.length - wanted.length,
      inputs: newCounts().inputs,
      release: () => {},
    };
    if (wanted.some(({ kind }) => kind === 'vector')) this.addVectors(wanted, ready);
    else await this.addTexts(wanted, ready, signal);
    return ready;
  }

  private addVectors(events: readonly HistoryEvent[], { rows, rejected }: Ready): void {
    const { dim, dtype } = this.model;
    for (const said of events) {
      const { entityId, event, known, offset } = said;
      try {
        let payload = DELETED;
        if (said.kind === 'vector' && 'numbers' in said.vector) {
          writeNumbers(said.vector.numbers, dim, dtype, rows.nextPayload(), said.vector.scale);
          payload = rows.addFilled();
        }
        rows.addRow(entityId, event, known, payload, offset);
      } catch (error) {
        rejected.push({ ...rejection(error), offset });
      }
    }
  }

  private async addTexts(
    events: readonly HistoryEvent[],
    ready: Ready,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { view } = this.record;
    const texts = events.map(({ entityId, event, known, part, ...said }): TextRecord => {
      return { entityId, event, known, part, input: said.kind === 'text' ? said.input : null };
    });
    const options: AddOptions = { lane: 'backfill', signal, counts: ready.inputs };
    const { pipeline } = this.needs;
    const added: AddedTexts = await pipeline.addRecords(
      view,
      this.model,
      ready.rows,
      texts,
      options,
    );
    for (const [at, said] of added.rows.entries()) {
      const { entityId, offset } = events[at]!;
      if (said instanceof TidemarkError) {
        ready.rejected.push({ ...rejection(said), offset });
        continue;
      }
      if (said.length === 0) ready.skipped++;
      for (const { event, known, payload } of said) {
        ready.rows.addRow(entityId, event, known, payload, offset);
      }
    }
    if (added.fields !== undefined) ready.fields = added.fields;
    ready.release = added.release;
  }

  /** Lets those go first whose rows wait for the writer. */
  async yieldToOthers(): Promise<void> {
    const { store } = this.needs;
    const over = AbortSignal.timeout(PATIENCE_MS);
    while (store.waitingRows > 0 && !over.aborted) {
      await Promise.race([
        store.nextMove(),
        delay(PATIENCE_MS, undefined, { signal: over, ref: false }).catch(() => {}),
      ]);
    }
  }

  /**
   * Rejects with VERSION_NOT_FOUND, as the store does, and where another has stored what comes behind
   * `offset.expected`.
   */
  async commit(request: CommitRequest): Promise<CommitResult> {
    const { view, version, id } = this.record;
    this.requireSame();
    const result = await this.needs.store.commit(view, version, request);
    if (result.fenced) throw new Error(`the place of the backfill ${id} is not where it was left`);
    return result;
  }

  get snapshot(): number {
    return this.needs.store.snapshot;
  }

  /** The places of the events that were stored after a snapshot; see `placeOf`. */
  storedSince(snapshot: number): Set<string> {
    const source = sourceOf(this.record);
    const found = new Set<string>();
    for (let after = snapshot; ;) {
      const changes = this.versionStore().log.read(after, this.snapshot, LOG_PAGE);
      for (const { position } of changes) {
        if (position?.source === source) found.add(placeOf(position));
      }
      if (changes.length < LOG_PAGE) return found;
      after = changes.at(-1)!.seq;
    }
  }

  /** Where reading goes on; 0 before the first commit. */
  nextOffset(topic: string, partition = 0): number {
    const { environment, offsets } = this.versionStore();
    environment.refresh();
    return Number(offsets.next(this.keyOf(topic, partition)) ?? 0n);
  }

  keyOf(topic: string, partition = 0): PartitionKey {
    return { source: sourceOf(this.record), topic, partition };
  }

  private requireSame(): ModelVersion {
    const { view, version, made } = this.record;
    const { catalogue } = this.needs.store;
    const now = catalogue.view(view)?.versions[version];
    if (now !== undefined && isSameVersion(now, made)) return now;
    throw new TidemarkError(
      'VERSION_NOT_FOUND',
      `the model version ${nameOf(view, version)} is gone: it was retired, or made anew`,
    );
  }
}

/** The name of an event's place in its history. */
export function placeOf({ topic, partition, offset }: Omit<SourcePosition, 'source'>): string {
  return `${topic}/${partition}/${offset}`;
}
