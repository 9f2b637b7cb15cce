import { isEntityId } from './entity-id.ts';

const ROWS_FIRST = 16;
const BYTES_FIRST = 256;
const MULTIPLIER = 0x01000193;

/**
 * Entity ids one after another, in UTF-8 with a hash each: a request's ids are read into one of
 * these, and found by it, without a text for any of them. What no entity can be called has no bytes.
 */
export class EntityIds {
  count = 0;
  bytes: Buffer;
  /** Where each ends; it begins where the one before it does. */
  ends: Int32Array<ArrayBuffer>;
  hashes: Int32Array<ArrayBuffer>;
  private end = 0;

  /** With room for so many bytes in so many rows; more is made when it is needed. */
  constructor(bytes = BYTES_FIRST, rows = ROWS_FIRST) {
    this.bytes = Buffer.allocUnsafeSlow(bytes);
    this.ends = new Int32Array(rows);
    this.hashes = new Int32Array(rows);
  }

  /** `texts`: whatever they are; those that are no ids are rows without bytes. */
  static of(texts: readonly string[]): EntityIds {
    const ids = new EntityIds(BYTES_FIRST, texts.length);
    for (const text of texts) ids.add(text);
    return ids;
  }

  clear(): void {
    this.count = 0;
    this.end = 0;
  }

  startOf(row: number): number {
    return row === 0 ? 0 : this.ends[row - 1]!;
  }

  /** Whether the row is an id at all. */
  isId(row: number): boolean {
    return this.ends[row]! > this.startOf(row);
  }

  text(row: number): string {
    return this.bytes.toString('utf8', this.startOf(row), this.ends[row]);
  }

  /** The texts of all rows, the empty one for what is no id. */
  texts(): string[] {
    return Array.from({ length: this.count }, (_, row) => this.text(row));
  }

  add(text: string): void {
    if (!isEntityId(text)) {
      this.endRow(0);
      return;
    }
    const from = this.end;
    this.reserve(text.length * 3);
    const { bytes } = this;
    let hash = 0;
    let at = 0;
    for (; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 0x7f) break;
      bytes[from + at] = unit;
      hash = Math.imul(hash ^ unit, MULTIPLIER);
    }
    this.end = from + at;
    if (at < text.length) {
      this.end = from + bytes.write(text, from, 'utf8');
      hash = hashOf(bytes, from, this.end);
    }
    this.endRow(hash);
  }

  /**
   * Reads a text of JSON that begins at byte `from` of valid UTF-8, after its quote, and ends at the
   * next quote: there it gives up, too, where it meets an escape or a control character. Adds it as
   * a row, and gives where the quote is, or −1 where there was anything else.
   */
  addQuoted(json: Uint8Array, from: number): number {
    const start = this.end;
    const stop = Math.min(json.length, from + LONGEST + 1);
    this.reserve(stop - from);
    const { bytes } = this;
    let hash = 0;
    for (let at = from; at < stop; at++) {
      const byte = json[at]!;
      if (byte === QUOTE) {
        this.end = start + at - from;
        this.endRow(hash);
        return at;
      }
      if (byte === BACKSLASH || byte < SPACE) return -1;
      bytes[start + at - from] = byte;
      hash = Math.imul(hash ^ byte, MULTIPLIER);
    }
    return -1;
  }

  private endRow(hash: number): void {
    const row = this.count++;
    if (row === this.ends.length) {
      this.ends = grown(this.ends);
      this.hashes = grown(this.hashes);
    }
    this.ends[row] = this.end;
    this.hashes[row] = mixed(hash);
  }

  private reserve(bytes: number): void {
    if (this.end + bytes <= this.bytes.length) return;
    const more = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.end + bytes));
    this.bytes.copy(more, 0, 0, this.end);
    this.bytes = more;
  }
}

/** Bytes of the longest id. */
const LONGEST = 1_024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;

function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, MULTIPLIER);
  return hash;
}

/** So that the lower bits depend on all of them. */
function mixed(hash: number): number {
  const spread = Math.imul(hash ^ (hash >>> 15), 0x5bd1e995);
  return spread ^ (spread >>> 13);
}

function grown(numbers: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const more = new Int32Array(numbers.length * 2 + ROWS_FIRST);
  more.set(numbers);
  return more;
}
