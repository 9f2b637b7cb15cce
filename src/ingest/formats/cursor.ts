import { TidemarkError } from '../../ground/errors.ts';
import { parseUtf8 } from '../source-record.ts';

/**
 * Reads a record's bytes from front to back and never beyond their end, whatever lengths and counts
 * they claim: a few bytes may say that billions follow. Throws BAD_RECORD.
 */
export class Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private next = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.bytes.byteLength - this.next;
  }

  /** Goes past `count` bytes; where they begin. */
  skip(count: number): number {
    if (count > this.left) {
      throw new TidemarkError(
        'BAD_RECORD',
        `the value ends ${count - this.left} bytes early, expected all that it announces`,
      );
    }
    const start = this.next;
    this.next += count;
    return start;
  }

  byte(): number {
    return this.bytes[this.skip(1)]!;
  }

  /** A view, good as long as the record's bytes are. */
  take(count: number): Uint8Array {
    const start = this.skip(count);
    return this.bytes.subarray(start, start + count);
  }

  text(count: number): string {
    return parseUtf8(this.take(count), 'text in the value');
  }

  /** Each item takes a byte at least, so more items than bytes are left are none. */
  checkCount(count: number): void {
    if (count > this.left) {
      throw new TidemarkError(
        'BAD_RECORD',
        `the value announces ${count} items in ${this.left} bytes, expected at most one a byte`,
      );
    }
  }

  /** What is left over was written by another schema, or is damage. */
  end(): void {
    if (this.left === 0) return;
    throw new TidemarkError('BAD_RECORD', `the value has ${this.left} bytes too many`);
  }
}
