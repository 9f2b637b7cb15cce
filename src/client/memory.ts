/** Of answers that are given back, all together. */
const KEPT_BYTES_MAX = 2 ** 26;

/** A smaller answer would hold what a larger one is going to need. */
const TIMES_MAX = 4;

/** Memory of answers that nobody reads any more: fresh memory costs more than what is put there. */
export class Memory {
  private free: Buffer<ArrayBuffer>[] = [];
  private kept = 0;

  /** It begins on a multiple of eight. */
  take(bytes: number): Buffer<ArrayBuffer> {
    const at = this.free.findIndex(
      ({ byteLength }) => byteLength >= bytes && byteLength <= bytes * TIMES_MAX,
    );
    if (at < 0) return Buffer.allocUnsafeSlow(bytes);
    const [found] = this.free.splice(at, 1) as [Buffer<ArrayBuffer>];
    this.kept -= found.byteLength;
    return found.subarray(0, bytes);
  }

  giveBack({ buffer }: Buffer<ArrayBuffer>): void {
    if (this.kept + buffer.byteLength > KEPT_BYTES_MAX) return;
    this.kept += buffer.byteLength;
    this.free.push(Buffer.from(buffer));
  }
}
