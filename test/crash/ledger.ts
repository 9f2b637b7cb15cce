import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import type { Change } from '../../src/store/change-log.ts';
import { isBackup } from '../../src/store/manifest.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { verifyStore } from '../../src/store/verify.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE, type Question } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { type Fact, NaiveStore } from '../model/naive.ts';
import { entityOf, isDelete, type Said, shapeOf, type Stored, vectorOf } from './victim.ts';

const QUESTIONS = 60;

const LATEST = {
  asOf: undefined,
  boundary: 'inclusive',
  knowledge: 'event',
  knownAt: undefined,
  maxAge: ANY_AGE,
} as const;

/** What a store was asked for and has acknowledged, over all its lives. */
export class Ledger {
  /** The first event that was never sent. */
  next = 0;
  private directory: string;
  private asked = new Set<number>();
  /** What is there for good, by event. */
  private facts = new Map<number, Fact & { id: string }>();
  private erased = new Set<string>();
  /** Whose erasure, or its end, was asked for and not acknowledged. */
  private unsure = new Set<string>();
  /** The seq of the erasure that took all of an entity. */
  private erasedAt = new Map<string, number>();
  /** Of those whose end was asked for: what came before is gone for good. */
  private goneUpTo = new Map<string, number>();
  private horizon = Number.NEGATIVE_INFINITY;
  private horizonAsked = Number.NEGATIVE_INFINITY;
  /** What the view `member` may be, as `shapeOf` tells it: what was acknowledged, or asked for since. */
  private members = [shapeOf(undefined)];
  /** The folder of a view whose creation was broken off is left for the next one of its name. */
  private hasLeftOver = false;
  /** The snapshot of each backup; undefined for one that was not acknowledged. */
  private backups = new Map<string, number | undefined>();
  /** The greatest seq that was given or handed out as a snapshot, and when it was last checked. */
  private seen = 0;
  private checked = 0;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** The latest events that were sent and, at the last check, not there. */
  unstored(): number[] {
    const missing = [...this.asked].filter((event) => event >= this.next - 100);
    return missing.filter((event) => !this.facts.has(event));
  }

  /** Takes down what the process said before it was killed. */
  take(lines: readonly Said[]): void {
    for (const said of lines) {
      if ('asks' in said) this.noteAsked(said);
      else this.noteAnswer(said);
    }
  }

  private noteAsked(said: Extract<Said, { asks: string }>): void {
    switch (said.asks) {
      case 'push':
        for (const event of said.events) {
          this.asked.add(event);
          this.next = Math.max(this.next, event + 1);
        }
        return;
      case 'erase':
        this.unsure.add(said.id);
        return;
      case 'lift':
        this.unsure.add(said.id);
        this.forget(said.id);
        return;
      case 'horizon':
        this.horizonAsked = Math.max(this.horizonAsked, said.moment);
        return;
      case 'backup':
        this.backups.set(said.target, undefined);
        return;
      case 'member':
        this.members.push(said.to);
        this.hasLeftOver = said.isMade;
    }
  }

  private noteAnswer(said: Extract<Said, { has: string }>): void {
    switch (said.has) {
      case 'opened':
        expect(said.snapshot).toBeGreaterThanOrEqual(this.seen);
        this.seen = said.snapshot;
        return;
      case 'pushed':
        for (const stored of said.stored) this.add(stored, this.seen);
        this.seen = Math.max(this.seen, said.snapshot);
        return;
      case 'erased':
        this.unsure.delete(said.id);
        this.erased.add(said.id);
        this.erasedAt.set(said.id, said.seq);
        return;
      case 'lifted':
        this.unsure.delete(said.id);
        this.erased.delete(said.id);
        return;
      case 'horizon':
        this.horizon = Math.max(this.horizon, said.moment);
        return;
      case 'backup':
        this.backups.set(said.target, said.snapshot);
        return;
      case 'member':
        this.members = this.members.slice(-1);
        this.hasLeftOver = false;
    }
  }

  /** What was stored of an entity before its erasure never comes back, whoever reports it yet. */
  private forget(id: string): void {
    const seq = this.erasedAt.get(id)!;
    this.goneUpTo.set(id, seq);
    for (const fact of this.facts.values()) {
      if (fact.id === id && fact.seq < seq) this.facts.delete(fact.event);
    }
  }

  /** A revision is there that was not before: it was asked for, and has a seq of its own. */
  private add([id, event, created, seq]: Stored, above: number): void {
    if (!this.asked.has(event)) expect.fail(`the event ${event} was never sent`);
    if (id !== entityOf(event)) expect.fail(`the event ${event} is one of ${id}`);
    if (seq <= above) expect.fail(`the event ${event} has the seq ${seq}, not above ${above}`);
    if (seq < (this.goneUpTo.get(id) ?? 0)) return;
    if (this.facts.has(event)) expect.fail(`the event ${event} is there twice`);
    const value = isDelete(event) ? null : event;
    this.facts.set(event, { id, event, known: event, created, seq, value });
  }

  /** Opens the store, and compares it with all of this; `random` picks questions. */
  async check(random: (below: number) => number): Promise<void> {
    await this.checkBackups();
    const store = openStore(this.directory, () => micros(this.next));
    try {
      // What a crash interrupted is finished in the background.
      await store.maintenance.run(undefined, async () => {});
      expect(store.snapshot).toBeGreaterThanOrEqual(this.seen);
      if (store.catalogue.view('job') !== undefined) this.compare(store, random);
      else expect(this.facts.size).toBe(0);
      this.compareMember(store);
      this.expectTidy(store);
      this.seen = this.checked = store.snapshot;
    } finally {
      await store.close();
    }
    expect((await verifyStore(this.directory)).problems).toEqual([]);
  }

  private compare(store: Store, random: (below: number) => number): void {
    const { horizon, naive, ids } = this.reconcile(store);
    const { vectors } = store.version('job', 'v1');
    for (let asked = 0; asked < QUESTIONS; asked++) {
      const id = ids[random(ids.length)]!;
      const from = Number.isFinite(horizon) ? horizon : 0;
      const question: Question = {
        asOf: random(5) === 0 ? undefined : from + random(Math.max(1, this.next - from) + 2) - 1,
        boundary: BOUNDARIES[random(2)]!,
        knowledge: KNOWLEDGE[random(3)]!,
        knownAt: undefined,
        maxAge: random(3) === 0 ? random(1_000) : ANY_AGE,
        now: this.next,
        snapshot: store.snapshot,
      };
      const { status, reason, fact } = naive.ask(id, question);
      const resolution = resolveMany(store.version('job', 'v1'), [id], question);
      const vector = new Float32Array(2);
      gather(vectors, resolution, new Uint8Array(vector.buffer));
      expect({
        status: STATUSES[resolution.statuses[0]!],
        reason: REASONS[resolution.reasons[0]!],
        seq: resolution.seqs[0],
        vector: [...vector],
      }).toEqual({
        status,
        reason,
        seq: fact?.seq ?? Number.NaN,
        vector: status === 'PRESENT' ? [fact!.event, 1] : [0, 0],
      });
    }
  }

  /** What the store holds must be what was acknowledged, and may be what was asked for besides. */
  private reconcile(store: Store): { horizon: number; naive: NaiveStore; ids: string[] } {
    const version = store.version('job', 'v1');
    for (const id of this.unsure) {
      if (version.erasures.has(id)) this.erased.add(id);
      else this.erased.delete(id);
    }
    this.unsure.clear();
    for (const id of new Set([...this.asked].map(entityOf))) {
      expect(version.erasures.has(id), `${id} is erased`).toBe(this.erased.has(id));
    }
    for (const { removed_at } of store.catalogue.receipts()) expect(removed_at).toBeDefined();

    const there = new Map<number, Change>();
    const before = new Map(this.facts);
    for (const change of version.log.read(0, Number.MAX_SAFE_INTEGER, 1e9)) {
      const { entityId: id, event, created, seq } = change;
      if (this.erased.has(id)) expect.fail(`${id} is erased, and in the log`);
      if (there.has(event)) expect.fail(`the event ${event} is there twice`);
      there.set(event, change);
      const fact = before.get(event);
      if (fact === undefined) this.add([id, event, created, seq], this.checked);
      else if (created !== fact.created || seq !== fact.seq) {
        expect.fail(`the event ${event} has become another revision`);
      }
    }

    const { horizon = { moment: Number.NEGATIVE_INFINITY, seq: 0 } } =
      store.catalogue.mustGetView('job');
    expect(horizon.moment).toBeGreaterThanOrEqual(this.horizon);
    expect(horizon.moment).toBeLessThanOrEqual(Math.max(this.horizon, this.horizonAsked));
    this.horizon = horizon.moment;
    this.horizonAsked = horizon.moment;

    const naive = new NaiveStore();
    naive.horizon = horizon;
    naive.isErased = (id) => this.erased.has(id);
    for (const { id, ...fact } of this.facts.values()) naive.keep(id, fact);
    const ids = naive.ids();
    const letGo = new Set(ids.flatMap((id) => naive.letGo(id)).map(({ event }) => event));
    for (const { id, event } of this.facts.values()) {
      if (there.has(event) || this.erased.has(id) || letGo.has(event)) continue;
      expect.fail(`the event ${event} of ${id} was acknowledged, and is not there`);
    }
    return { horizon: horizon.moment, naive, ids: [...ids, 'nobody'] };
  }

  private compareMember(store: Store): void {
    const view = store.catalogue.view('member');
    expect(this.members).toContain(shapeOf(view));
    this.members = [shapeOf(view)];
    for (const version of Object.keys(view?.versions ?? {})) {
      const opened = store.version('member', version);
      const question = { ...LATEST, now: this.next, snapshot: store.snapshot };
      const resolution = resolveMany(opened, ['m'], question);
      if (STATUSES[resolution.statuses[0]!] !== 'PRESENT') continue;
      const vector = new Float32Array(2);
      gather(opened.vectors, resolution, new Uint8Array(vector.buffer));
      expect([...vector], `an answer of member@${version}`).toEqual(vectorOf(version));
    }
  }

  /** One that was acknowledged is whole, and one that says that it is, is. */
  private async checkBackups(): Promise<void> {
    for (const [target, snapshot] of this.backups) {
      if (snapshot !== undefined) expect(isBackup(target), 'a backup is whole').toBe(true);
      if (isBackup(target)) expect((await verifyStore(target)).problems).toEqual([]);
      rmSync(target, { recursive: true, force: true });
    }
    this.backups.clear();
  }

  /** No file or folder is left of what was broken off, and each seq is that of one thing. */
  private expectTidy({ catalogue }: Store): void {
    const views = join(this.directory, 'views');
    const names = catalogue.views().map(({ name }) => name);
    const known = [...names, 'job', ...(this.hasLeftOver ? ['member'] : [])];
    for (const name of existsSync(views) ? readdirSync(views) : []) expect(known).toContain(name);
    for (const name of names) {
      const versions = Object.keys(catalogue.mustGetView(name).versions);
      expect(readdirSync(join(views, name)).toSorted()).toEqual(versions.toSorted());
      for (const version of versions) {
        const { number } = catalogue.generation(name, version);
        const left = readdirSync(join(views, name, version));
        expect(left.filter((one) => !one.startsWith('data.mdb'))).toEqual(
          number === 0 ? [] : [`g${number}`],
        );
      }
    }
    const seqs = [...catalogue.events(0, Number.MAX_SAFE_INTEGER, 1e6), ...this.facts.values()].map(
      ({ seq }) => seq,
    );
    expect(new Set(seqs).size).toBe(seqs.length);
  }
}
