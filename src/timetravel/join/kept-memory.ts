/** Memory that is used again by one window after the other: fresh memory costs as much as a copy. */
export class KeptMemory {
  private kept: Uint8Array<ArrayBuffer>[] = [];

  /** `use`: what for; its bytes of before are given up. */
  take(use: number, bytes: number): Uint8Array<ArrayBuffer> {
    let memory = this.kept[use];
    if (memory === undefined || memory.byteLength < bytes) {
      // Both together would be too much.
      this.kept[use] = new Uint8Array(0);
      this.kept[use] = memory = new Uint8Array(bytes);
    }
    return memory.subarray(0, bytes);
  }
}
