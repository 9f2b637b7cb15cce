import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import type { RevisionPlace } from '../spine/window.ts';
import type { FromWorker, JoinedWindow, Numbered, ToWorker, WindowTask } from './messages.ts';

/** What windows of one join tell each other, from the one before to the one behind. */
export interface Turns {
  /** With `vectors=ref`: how far vectors are numbered; undefined: the join is given up. */
  numbered: Promise<readonly Numbered[] | undefined>;
  onNumbered(numbered: readonly Numbered[]): void;
  /** Of revisions: where the next window begins. */
  onScanned(rows: number, next: RevisionPlace | undefined): void;
}

/** A thread that joins windows, one at a time. */
export class JoinThread {
  private worker: Worker;
  private asked: PromiseWithResolvers<JoinedWindow> | undefined;
  private turns: Turns | undefined;
  private death: TidemarkError | undefined;

  constructor() {
    this.worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
    this.worker.on('message', (message: FromWorker) => this.hear(message));
    this.worker.on('error', (error) => this.die(error));
    this.worker.on('exit', (exitCode) => this.die(`it ended with ${exitCode}`));
  }

  get isAlive(): boolean {
    return this.death === undefined;
  }

  /** Joins a window. Throws what the join throws. */
  async join(task: WindowTask, turns: Turns): Promise<JoinedWindow> {
    if (this.death !== undefined) throw this.death;
    this.asked = Promise.withResolvers();
    this.turns = turns;
    const { piece } = task;
    this.post({ type: 'window', task }, 'bytes' in piece ? [piece.bytes.buffer] : []);
    return this.asked.promise;
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }

  private hear(message: FromWorker): void {
    const { asked, turns } = this;
    switch (message.type) {
      case 'waiting':
        void turns!.numbered.then((numbered) => this.post({ type: 'turn', numbered }));
        break;
      case 'numbered':
        turns!.onNumbered(message.numbered);
        break;
      case 'scanned':
        turns!.onScanned(message.rows, message.next);
        break;
      case 'done':
        asked!.resolve(message.joined);
        break;
      case 'failed':
        asked!.reject(errorOf(message));
        break;
    }
  }

  private post(message: ToWorker, moved: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, moved);
  }

  private die(why: unknown): void {
    const what = why instanceof Error ? why.message : String(why);
    this.death ??= new TidemarkError('INTERNAL', `a thread of a join has died: ${what}`);
    this.asked?.reject(this.death);
  }
}

function errorOf({ code, message }: Extract<FromWorker, { type: 'failed' }>): Error {
  return code === undefined ? new Error(message) : new TidemarkError(code, message);
}
