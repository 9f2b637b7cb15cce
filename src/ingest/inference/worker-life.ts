import type { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import { BatchLost } from './backend.ts';
import { decodeFailure, messageOf } from './failure.ts';
import type { NativeGate } from './native-gate.ts';
import type { Answer, Ask } from './thread.ts';

/** One worker thread from its start to its end, and what was asked of it: see thread.ts. */
export class WorkerLife<A, V> {
  /** Resolves when the thread can serve; rejects when it ends before, with what it said. */
  readonly ready: Promise<void>;
  /** Resolves when the thread is gone, with how it went. */
  readonly ended: Promise<string>;
  #isReady = false;
  #isOver = false;
  readonly #worker: Worker;
  /** The first of them is the one that the thread works on. */
  readonly #outstanding = new Map<number, PromiseWithResolvers<V>>();
  #lastId = 0;
  #lastWords: string | undefined;

  constructor(worker: Worker, gate: NativeGate, name: string) {
    this.#worker = worker;
    const ready = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    this.ready = ready.promise;
    this.ended = ended.promise;
    this.ready.catch(() => {});

    gate.watch();
    worker.on('message', (answer: Answer<V>) => {
      if (answer.kind === 'ready') {
        this.#isReady = true;
        ready.resolve();
      } else if (answer.kind === 'unfit') ready.reject(decodeFailure(answer.failure));
      else this.#settle(answer);
    });
    worker.on('error', (error) => {
      this.#lastWords = messageOf(error);
    });
    worker.on('exit', (code) => {
      this.#isOver = true;
      gate.forget();
      const how = `the worker of ${name} died (${this.#lastWords ?? `exit code ${code}`})`;
      ready.reject(new TidemarkError('MODEL_UNAVAILABLE', how));
      let isFirst = true;
      for (const { reject } of this.#outstanding.values()) {
        reject(new BatchLost(how, isFirst));
        isFirst = false;
      }
      this.#outstanding.clear();
      ended.resolve(how);
    });
  }

  /** It can be asked: it is ready, and not gone. */
  get isServing(): boolean {
    return this.#isReady && !this.#isOver;
  }

  /**
   * Rejects with BatchLost when the thread dies, or with what the thread says of the ask. The
   * buffers in `moved` are given away.
   */
  ask(ask: A, moved: ArrayBuffer[] = []): Promise<V> {
    if (this.#isOver) return Promise.reject(new BatchLost('the worker is gone', false));
    const id = ++this.#lastId;
    const asked = Promise.withResolvers<V>();
    this.#outstanding.set(id, asked);
    this.#post({ id, ask }, moved);
    return asked.promise;
  }

  /** Lets the thread answer what it was asked, then end. */
  async finish(): Promise<void> {
    this.#post(null);
    await this.ended;
  }

  #post(ask: Ask<A>, moved: ArrayBuffer[] = []): void {
    this.#worker.postMessage(ask, moved);
  }

  #settle(answer: Extract<Answer<V>, { id: number }>): void {
    const asked = this.#outstanding.get(answer.id);
    this.#outstanding.delete(answer.id);
    if (answer.kind === 'value') asked?.resolve(answer.value);
    else asked?.reject(decodeFailure(answer.failure));
  }
}
