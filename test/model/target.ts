import { hash } from 'node:crypto';

import { expect } from 'vitest';

import { DELETED, type Outcome, RevisionBatch } from '../../src/store/batch.ts';
import type { Change } from '../../src/store/change-log.ts';
import { vectorBytes } from '../../src/store/dtype.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { type Fact, NaiveStore } from './naive.ts';

/** A row as the model pushes it; see `Fact`. */
export interface Row {
  id: string;
  event: number;
  known: number;
  value: number | null;
}

/** Entities: one id starts another one, one is as long as an id can be. */
export const IDS = ['ada', 'adamant', 'bob', 'zoë 🌊', 'l'.repeat(1_024), 'nobody'];

/** One model version: what the store must hold of it, and how far its log has been read. */
export class Target {
  readonly view: string;
  readonly version: string;
  readonly dim: number;
  naive = new NaiveStore();
  /** All that was ever sent to it: any of it may be sent again. */
  sent: Row[] = [];
  /** Compactions asked for that have not ended. */
  compacting = 0;
  logRead: number;

  constructor(view: string, version: string, dim: number, logRead: number) {
    this.view = view;
    this.version = version;
    this.dim = dim;
    this.logRead = logRead;
  }

  copy(): Target {
    const copy = new Target(this.view, this.version, this.dim, this.logRead);
    copy.naive = this.naive.copy();
    copy.sent = [...this.sent];
    return copy;
  }

  /**
   * Takes in what the store says of the rows, and the changes that it has logged: it must be what
   * the naive model says (A4, A8).
   */
  take(
    rows: readonly Row[],
    outcomes: readonly Outcome[],
    log: readonly Change[],
    wasErased: readonly boolean[],
  ): Change[] {
    const { naive } = this;
    expect(outcomes).toHaveLength(rows.length);
    const taken: Change[] = [];
    rows.forEach((row, at) => {
      const { id, event, known, value } = row;
      const outcome = outcomes[at]!;
      const isErased = naive.isErased(id);
      if (wasErased[at]) expect(outcome).toBe('erased');
      if (!isErased) {
        const isDuplicate = naive.isDuplicate(id, row);
        if (isDuplicate !== undefined) expect(outcome === 'duplicate').toBe(isDuplicate);
      }
      if (outcome !== 'latest' && outcome !== 'history') return;
      const change = log[taken.length]!;
      const { seq, created } = change;
      expect(change).toMatchObject({ entityId: id, event, known });
      expect(seq).toBeGreaterThan(this.logRead);
      expect(created).toBeGreaterThan(naive.horizon.moment);
      this.logRead = seq;
      taken.push(change);
      // Erased on its way: stored, and removed again.
      if (isErased) return;
      expect(outcome).toBe(naive.keep(id, { event, known, created, seq, value }));
    });
    this.noteDropping();
    return taken;
  }

  /** While a compaction runs, all that retention lets go may be dropped, or not any more. */
  noteDropping(): void {
    const { naive, compacting } = this;
    if (compacting > 0) for (const fact of naive.dropping()) naive.perhapsDropped.add(fact);
  }

  noteDropped(facts: readonly Fact[]): void {
    for (const fact of facts) {
      this.naive.perhapsDropped.delete(fact);
      this.naive.dropped.add(fact);
    }
  }

  /** The version holds just the facts that the naive model says are left. */
  expectCounted(version: VersionStore): void {
    const { naive } = this;
    if (naive.perhapsDropped.size > 0) return;
    const left = naive
      .ids()
      .map((id) => naive.history(id).filter((fact) => !naive.dropped.has(fact)).length);
    const { revisions, entities } = version.counters();
    expect({ revisions, entities }).toEqual({
      revisions: left.reduce((sum, facts) => sum + facts, 0),
      entities: left.filter((facts) => facts > 0).length,
    });
  }
}

/** The vector that stands for a value. */
export function vectorOf(value: number, dim: number): Float32Array {
  return Float32Array.from({ length: dim }, (_, at) => value + at / 8);
}

/** `hashed`: as the embedder sends them, an equal input taken from the pool. */
export function batchOf(
  version: VersionStore,
  rows: readonly Row[],
  dim: number,
  hashed: boolean,
): RevisionBatch {
  const batch = new RevisionBatch(vectorBytes(dim, 'float32'), rows.length);
  for (const { id, event, known, value } of rows) {
    let payload = DELETED;
    if (value !== null) {
      const out = batch.nextPayload();
      const bytes = new Uint8Array(vectorOf(value, dim).buffer);
      const inputHash = hashed ? hash('sha256', `${value}`, 'buffer').subarray(0, 16) : undefined;
      if (inputHash !== undefined && version.copyPooled(inputHash, out)) {
        expect([...out]).toEqual([...bytes]);
      } else out.set(bytes);
      payload = batch.addFilled(inputHash);
    }
    batch.addRow(id, event, known, payload);
  }
  return batch;
}
