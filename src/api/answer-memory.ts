import type { ServerResponse } from 'node:http';

/** Smaller answers are not worth keeping: memory for them is at hand. */
const KEPT_MIN = 2 ** 16;
/** Larger ones are rare. */
const KEPT_MAX = 2 ** 24;
/** Of all sizes together: those of many requests at once. */
const KEPT_TOTAL = 2 ** 28;

/**
 * Memory of answers that were sent, for those to come: the first touch of fresh memory costs more
 * than what is put there. Sizes are rounded up, by a quarter at most, so that few of them serve all.
 */
export class AnswerMemory {
  private free = new Map<number, Buffer<ArrayBuffer>[]>();
  private kept = 0;

  /**
   * Memory for an answer, that begins on a multiple of eight; what is in it is of before. It is the
   * response's own until that is sent, or never will be.
   */
  take(bytes: number, response: ServerResponse): Buffer<ArrayBuffer> {
    if (bytes < KEPT_MIN || bytes > KEPT_MAX) return Buffer.allocUnsafeSlow(bytes);
    const step = 2 ** (Math.floor(Math.log2(bytes)) - 2);
    const size = Math.ceil(bytes / step) * step;
    const kept = this.free.get(size)?.pop();
    if (kept !== undefined) this.kept -= size;
    const memory = kept ?? Buffer.allocUnsafeSlow(size);
    // Once the last byte is the kernel's, or the connection is gone.
    response.once('close', () => this.giveBack(memory));
    return memory.subarray(0, bytes);
  }

  private giveBack(memory: Buffer<ArrayBuffer>): void {
    const size = memory.byteLength;
    if (this.kept + size > KEPT_TOTAL) return;
    this.kept += size;
    const free = this.free.get(size);
    if (free === undefined) this.free.set(size, [memory]);
    else free.push(memory);
  }
}
