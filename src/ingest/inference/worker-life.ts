import type { Worker } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import { decodeFailure, messageOf } from './failure.ts';
import type { NativeGate } from './native-gate.ts';
import type { Answer, Ask } from './onnx-worker.ts';

/** One worker thread from its start to its end, and what was asked of it. */
export class WorkerLife {
  /** Resolves when the model is loaded and warm; rejects when the thread ends before. */
  readonly ready: Promise<void>;
  /** Resolves when the thread is gone, however it went. */
  readonly ended: Promise<void>;
  #over = false;
  readonly #worker: Worker;
  readonly #outstanding = new Map<number, PromiseWithResolvers<Float32Array>>();
  #lastId = 0;
  #lastWords: TidemarkError | undefined;

  constructor(worker: Worker, gate: NativeGate, modelName: string) {
    this.#worker = worker;
    const ready = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.ended = ended.promise;
    // Whoever asks for vectors hears of a failed start too, so `ready` may have no listener.
    this.ready.catch(() => {});

    gate.watch();
    worker.on('message', (answer: Answer) => {
      if (answer.kind === 'ready') ready.resolve();
      else if (answer.kind === 'unfit') this.#lastWords = decodeFailure(answer.failure);
      else this.#settle(answer);
    });
    worker.on('error', (error) => {
      this.#lastWords ??= died(modelName, messageOf(error));
    });
    worker.on('exit', (code) => {
      this.#over = true;
      gate.forget();
      const reason = this.#lastWords ?? died(modelName, `exit code ${code}`);
      ready.reject(reason);
      for (const { reject } of this.#outstanding.values()) reject(reason);
      this.#outstanding.clear();
      ended.resolve();
    });
  }

  /** True once the thread is gone: what is asked of it now would never be answered. */
  get over(): boolean {
    return this.#over;
  }

  embed(texts: readonly string[]): Promise<Float32Array> {
    const id = ++this.#lastId;
    const asked = Promise.withResolvers<Float32Array>();
    this.#outstanding.set(id, asked);
    this.#post({ id, texts });
    return asked.promise;
  }

  /** Lets the thread answer what it was asked, then end. */
  async finish(): Promise<void> {
    this.#post(null);
    await this.ended;
  }

  #post(ask: Ask): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(ask);
  }

  #settle(answer: Extract<Answer, { id: number }>): void {
    const asked = this.#outstanding.get(answer.id);
    this.#outstanding.delete(answer.id);
    if (answer.kind === 'vectors') asked?.resolve(answer.vectors);
    else asked?.reject(decodeFailure(answer.failure));
  }
}

function died(modelName: string, how: string): TidemarkError {
  return new TidemarkError(
    'OVERLOADED',
    `the worker of the model ${modelName} died (${how}) and what it was asked is lost: ask again`,
  );
}
