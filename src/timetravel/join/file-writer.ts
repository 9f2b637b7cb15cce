import { createHash } from 'node:crypto';
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

import { TidemarkError } from '../../ground/errors.ts';
import { isSystemError, systemWords } from '../../ground/system-error.ts';
import type { WrittenFile } from './window-done.ts';

/** One call of the system writes no more than 2 GiB; smaller pieces are still warm when hashed. */
const PIECE_BYTES = 2 ** 20;

/**
 * A file being written, which has its name once it is whole. It is not flushed: what a power loss
 * takes is told by its checksum.
 */
export class FileWriter {
  private path: string;
  /** Undefined once it is closed: its number is then another file's. */
  private descriptor: number | undefined;
  private hash = createHash('sha256');
  private bytes = 0;

  /** Throws STORE_UNAVAILABLE, as do the others, for what the disk refuses. */
  constructor(path: string) {
    this.path = path;
    this.descriptor = refused(() => openSync(temporary(path), 'w'));
  }

  write(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.byteLength; from += PIECE_BYTES) {
      const piece = chunk.subarray(from, Math.min(chunk.byteLength, from + PIECE_BYTES));
      for (let at = 0; at < piece.byteLength;) {
        at += refused(() => writeSync(this.descriptor!, piece, at, piece.byteLength - at));
      }
      this.hash.update(piece);
    }
    this.bytes += chunk.byteLength;
  }

  /** Gives the file its name. */
  finish(rows: number): WrittenFile {
    refused(() => this.close());
    refused(() => renameSync(temporary(this.path), this.path));
    return { rows, bytes: this.bytes, sha256: this.hash.digest('hex') };
  }

  /** Removes what was written. */
  abandon(): void {
    this.close();
    rmSync(temporary(this.path), { force: true });
  }

  private close(): void {
    const { descriptor } = this;
    this.descriptor = undefined;
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function temporary(path: string): string {
  return `${path}.tmp`;
}

function refused<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new TidemarkError(
      'STORE_UNAVAILABLE',
      `a file of the export cannot be written: ${systemWords(error)}`,
      { cause: error },
    );
  }
}
