// A thread that is ended while it is inside ONNX Runtime's or the tokenizer's native code aborts
// the whole process, and `process.exit` ends every thread. So the worker goes into native code
// through a gate in shared memory, and a process that exits shuts it first:
//
//   worker                          the thread that exits
//   busy, native call
//                                   shut; is it busy? wait
//   not busy, wake the waiter
//   shut: stay outside
//                                   ends the worker
const BUSY = 1;
const SHUT = 2;

/** A batch takes less by far; a model of gigabytes may take this long to load. */
const EXIT_WAIT_MS = 10_000;

const gates = new Set<NativeGate>();

/** The gate between one worker and the native code it calls. */
export class NativeGate {
  /** What the two threads share: one number of two bits. */
  readonly memory: SharedArrayBuffer;
  readonly #bits: Int32Array;

  constructor(memory = new SharedArrayBuffer(4)) {
    this.memory = memory;
    this.#bits = new Int32Array(memory);
  }

  /** Does a native call inside the gate. Once the process is exiting, its promise stays open. */
  async pass<T>(call: () => Promise<T>): Promise<T> {
    if (Atomics.or(this.#bits, 0, BUSY) & SHUT) {
      this.#leave();
      // Not Atomics.wait: a thread that is ended just before it begins to wait is never woken.
      return new Promise(() => {});
    }
    try {
      return await call();
    } finally {
      this.#leave();
    }
  }

  /** From now until `forget`, an exit of the process waits for the worker to be outside. */
  watch(): void {
    if (gates.size === 0) process.on('exit', shutAll);
    gates.add(this);
  }

  forget(): void {
    gates.delete(this);
    if (gates.size === 0) process.off('exit', shutAll);
  }

  /** Lets the worker in no more, and blocks until it is outside. */
  shut(): void {
    Atomics.or(this.#bits, 0, SHUT);
    Atomics.wait(this.#bits, 0, BUSY | SHUT, EXIT_WAIT_MS);
  }

  #leave(): void {
    Atomics.and(this.#bits, 0, ~BUSY);
    Atomics.notify(this.#bits, 0);
  }
}

function shutAll(): void {
  for (const gate of gates) gate.shut();
}
