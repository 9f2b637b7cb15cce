import { crc32 } from 'node:zlib';

import { TidemarkError } from '../ground/errors.ts';
import type { FeatureView } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import { gather, resolveSpine } from './lookup.ts';
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
  created: number;
  version: string;
  entityId: string;
  question: Question;
}

interface Outcome {
  status: number;
  reason: number;
  event: number;
  seq: number;
  /** CRC-32 of the vector's bytes; 0 where there is none. */
  checksum: number;
}

/** How the checks went. They only grow. */
export interface SkewCounts {
  checked: number;
  /** Must stay 0. */
  mismatches: number;
  /** More answers were sampled than could be asked again in time. */
  dropped: number;
  /** Retention, an erasure or a drop of the view has overtaken the answer: it cannot be asked again. */
  passed_by: number;
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
  readonly counts: SkewCounts = { checked: 0, mismatches: 0, dropped: 0, passed_by: 0 };
  private settings: Settings;
  private queue: Remembered[] = [];
  private isRunning = false;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** Of so many rows of a request the one to remember; undefined for most requests. */
  pick(rows: number): number | undefined {
    const { sample, random } = this.settings;
    if (sample === 0 || rows === 0 || random() >= sample) return undefined;
    return Math.floor(random() * rows);
  }

  remember({ view, version, entityId, question, resolution, row, bytes }: ServedRow): void {
    if (this.queue.length >= this.settings.queueMax) {
      this.counts.dropped++;
      return;
    }
    this.queue.push({
      view: view.name,
      created: view.created_timestamp,
      version,
      entityId,
      question,
      ...outcomeOf(resolution, row, bytes),
    });
    if (this.isRunning) return;
    this.isRunning = true;
    setImmediate(() => this.next()).unref();
  }

  private next(): void {
    const row = this.queue.shift();
    if (row === undefined) {
      this.isRunning = false;
      return;
    }
    this.check(row);
    // One a turn of the event loop: requests come first.
    setImmediate(() => this.next()).unref();
  }

  private check(served: Remembered): void {
    const { counts } = this;
    const again = this.askAgain(served);
    const isOvertaken =
      again === undefined ||
      (again.reason !== served.reason &&
        (again.reason === code.ERASED || again.reason === code.BEFORE_RETENTION));
    if (isOvertaken) {
      counts.passed_by++;
      return;
    }
    counts.checked++;
    const isSame = (['status', 'reason', 'event', 'seq', 'checksum'] as const).every((field) =>
      Object.is(again[field], served[field]),
    );
    if (isSame) return;
    counts.mismatches++;
    const { view, version, seq, question } = served;
    this.settings.onMismatch({ view, version, seq, snapshot: question.snapshot });
  }

  private askAgain({
    view,
    created,
    version,
    entityId,
    question,
  }: Remembered): Outcome | undefined {
    const { store } = this.settings;
    if (store.catalogue.view(view)?.created_timestamp !== created) return undefined;
    const { asOf = Number.POSITIVE_INFINITY } = question;
    try {
      const opened = store.version(view, version);
      const bytes = new Uint8Array(opened.vectors.vectorBytes);
      const spine = { ...question, asOf: undefined };
      const resolution = resolveSpine(opened, [entityId], Float64Array.of(asOf), spine);
      gather(opened.vectors, resolution, bytes);
      return outcomeOf(resolution, 0, bytes);
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'VERSION_NOT_FOUND') return undefined;
      // What was served a moment ago cannot be read any more: no answer is another answer.
      return { status: -1, reason: 0, event: 0, seq: 0, checksum: 0 };
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
