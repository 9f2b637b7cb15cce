/** Bytes of a hash and, behind it, of the length of the id, which is not 0. */
export const ENTRY_BYTES = 18;
const LENGTH_AT = 16;

/**
 * Hashes of erased entities in memory that threads share: to look one up, a thread need not have
 * read the others. Open addressing by the first bytes of the hashes, at most half full.
 */
export class ErasedHashes {
  readonly shared: SharedArrayBuffer;
  private bytes: Uint8Array;
  private mask: number;

  /** `shared`: of one that `of` has made. */
  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.bytes = new Uint8Array(shared);
    this.mask = shared.byteLength / ENTRY_BYTES - 1;
  }

  /** `hashes`: one character a byte. */
  static of(hashes: ReadonlySet<string>): ErasedHashes {
    const slots = 2 ** Math.ceil(Math.log2(2 * Math.max(1, hashes.size)));
    const made = new ErasedHashes(new SharedArrayBuffer(slots * ENTRY_BYTES));
    for (const known of hashes) {
      const place = made.find(known);
      for (let at = 0; at < ENTRY_BYTES; at++) made.bytes[place + at] = known.charCodeAt(at);
    }
    return made;
  }

  has(known: string): boolean {
    return !this.isFree(this.find(known));
  }

  /** Where the hash is, or would be. */
  private find(known: string): number {
    const { mask } = this;
    let slot = 0;
    for (let at = 3; at >= 0; at--) slot = ((slot << 8) | known.charCodeAt(at)) & mask;
    for (; ; slot = (slot + 1) & mask) {
      const place = slot * ENTRY_BYTES;
      if (this.isFree(place) || this.isAt(place, known)) return place;
    }
  }

  private isFree(place: number): boolean {
    const { bytes } = this;
    return bytes[place + LENGTH_AT] === 0 && bytes[place + LENGTH_AT + 1] === 0;
  }

  private isAt(place: number, known: string): boolean {
    for (let at = 0; at < ENTRY_BYTES; at++) {
      if (this.bytes[place + at] !== known.charCodeAt(at)) return false;
    }
    return true;
  }
}
