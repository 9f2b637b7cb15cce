import { crc32 } from 'node:zlib';

import type { FeatureView } from '../store/catalogue.ts';
import { isEntityId } from '../store/entity-id.ts';
import { openPinned, pinVersion } from '../store/pinned-version.ts';
import type { Store } from '../store/store.ts';
import { resolveWindow } from './join/resolve-window.ts';
import type { Question } from './question.ts';
import type { Resolution } from './resolve.ts';
import * as code from './status.ts';

/** One row of an answer, as it was served. */
export interface ServedRow {
  view: FeatureView;
  version: string;
  entityId: string;
  /** As it was resolved: with its snapshot, and what ages were measured from. */
  question: Question;
  resolution: Resolution;
  row: number;
  /** The vector's bytes in the answer's own buffer; of a miss whatever stands there. */
  bytes: Uint8Array;
}

/** What the check keeps of it: no vector, and nothing that the answer's buffer would be kept for. */
interface Remembered extends Outcome {
  view: string;
  version: string;
  /** When that version was made: another one may have its name since. */
  made: number | undefined;
  entityId: string;
  question: Question;
  /** Nothing that happened later has a seq at or below it. */
  servedAt: number;
}

interface Outcome {
  status: number;
  reason: number;
  event: number;
  seq: number;
  /** CRC-32 of the vector's bytes; 0 where there is none. */
  checksum: number;
}

/** Why an answer cannot be asked again. */
export type Overtaken = 'retention' | 'erased' | 'dropped';

/** How the checks went. They only grow. */
export interface SkewCounts {
  checked: number;
  /** Must stay 0. */
  mismatches: number;
  /** More answers were sampled than could be asked again in time. */
  dropped: number;
  /** Retention, an erasure or a drop of the version has overtaken the answer: it cannot be asked again. */
  passed_by: Record<Overtaken, number>;
}

interface Settings {
  store: Store;
  /** Share of requests that a row is checked of, from 0, which is none, to 1. */
  sample: number;
  /** Rows that may wait for their check. */
  queueMax: number;
  /** From 0 up to 1. */
  random: () => number;
  onMismatch: (row: { view: string; version: string; seq: number; snapshot: number }) => void;
}

/**
 * Asks a sample of served answers again, through the path of training joins and at the snapshot
 * that they were served from: what a model is trained on is what was served (A3, A9). Whatever runs
 * meanwhile, the answers must not differ.
 */
export class SkewCheck {
  readonly counts: SkewCounts = {
    checked: 0,
    mismatches: 0,
    dropped: 0,
    passed_by: { retention: 0, erased: 0, dropped: 0 },
  };
  private settings: Settings;
  private queue: Remembered[] = [];
  private isRunning = false;
  private isStopped = false;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** Of so many rows of a request the one to remember; undefined for most requests. */
  pick(rows: number): number | undefined {
    const { sample, random } = this.settings;
    if (sample === 0 || rows === 0 || random() >= sample) return undefined;
    return Math.floor(random() * rows);
  }

  /** Checks nothing more: the store is about to close. */
  stop(): void {
    this.isStopped = true;
    this.queue = [];
  }

  remember({ view, version, entityId, question, resolution, row, bytes }: ServedRow): void {
    if (this.isStopped) return;
    if (this.queue.length >= this.settings.queueMax) {
      this.counts.dropped++;
      return;
    }
    this.queue.push({
      view: view.name,
      version,
      made: view.versions[version]?.created_seq,
      entityId,
      question,
      servedAt: this.settings.store.snapshot,
      ...outcomeOf(resolution, row, bytes),
    });
    if (this.isRunning) return;
    this.isRunning = true;
    setImmediate(() => this.next());
  }

  private next(): void {
    const row = this.queue.shift();
    if (row === undefined) {
      this.isRunning = false;
      return;
    }
    this.check(row);
    // One a turn of the event loop: requests come first.
    setImmediate(() => this.next());
  }

  private check(served: Remembered): void {
    const { counts } = this;
    const found = this.compare(served);
    if (found !== 'same' && found !== 'other') {
      counts.passed_by[found]++;
      return;
    }
    counts.checked++;
    if (found === 'same') return;
    counts.mismatches++;
    const { view, version, seq, question } = served;
    this.settings.onMismatch({ view, version, seq, snapshot: question.snapshot });
  }

  private compare(served: Remembered): 'same' | 'other' | Overtaken {
    try {
      const again = this.askAgain(served);
      const isSame = (['status', 'reason', 'event', 'seq', 'checksum'] as const).every((field) =>
        Object.is(again?.[field], served[field]),
      );
      return isSame ? 'same' : (this.overtaken(served, again) ?? 'other');
    } catch {
      // What was served a moment ago cannot be read any more: no answer is another answer.
      return 'other';
    }
  }

  /** What came after the answer and changed what can be asked. */
  private overtaken(served: Remembered, again: Outcome | undefined): Overtaken | undefined {
    if (again === undefined) return 'dropped';
    if (again.reason === code.BEFORE_RETENTION && served.reason !== code.BEFORE_RETENTION) {
      return 'retention';
    }
    // An erasure that was lifted since has left a trace in what there is, too.
    const { catalogue } = this.settings.store;
    const { entity } = catalogue.mustGetView(served.view);
    const reaches = catalogue
      .events(served.servedAt, Number.MAX_SAFE_INTEGER)
      .some(
        (event) =>
          'scope' in event &&
          event.scope.entity === entity &&
          (event.scope.view ?? served.view) === served.view,
      );
    return reaches ? 'erased' : undefined;
  }

  /** Undefined when the version that was asked is gone. */
  private askAgain({ view, version, made, entityId, question }: Remembered): Outcome | undefined {
    const { store } = this.settings;
    const now = store.catalogue.view(view)?.versions[version];
    if (now === undefined || now.created_seq !== made) return undefined;
    const { asOf = Number.POSITIVE_INFINITY } = question;
    const pin = pinVersion(store.version(view, version));
    try {
      const pages = openPinned(pin.version);
      const ids = { ids: [entityId], ordinals: Int32Array.of(isEntityId(entityId) ? 0 : -1) };
      const spine = { ...question, asOf: undefined };
      const resolution = resolveWindow(pages, ids, Float64Array.of(asOf), spine, true);
      const bytes = new Uint8Array(pin.version.vectorBytes);
      if (resolution.statuses[0] === code.PRESENT) {
        pages.vectors.copy(resolution.vectorIds, Int32Array.of(0), bytes, Uint32Array.of(0));
      }
      return outcomeOf(resolution, 0, bytes);
    } finally {
      pin.release();
    }
  }
}

function outcomeOf(
  { statuses, reasons, events, seqs }: Resolution,
  row: number,
  bytes: Uint8Array,
): Outcome {
  const status = statuses[row]!;
  return {
    status,
    reason: reasons[row]!,
    event: events[row]!,
    seq: seqs[row]!,
    checksum: status === code.PRESENT ? crc32(bytes) : 0,
  };
}
