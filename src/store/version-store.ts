import type { ChangeLog } from './change-log.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { Environment } from './environment.ts';
import type { ErasedOfVersion } from './erasures.ts';
import type { Fields } from './fields.ts';
import type { Horizon } from './horizon.ts';
import type { Inputs } from './inputs.ts';
import type { Offsets } from './offsets.ts';
import type { Texts } from './texts.ts';
import type { Timelines } from './timelines.ts';
import type { VectorPool } from './vectors.ts';
import type { Counters, VersionFiles } from './version-files.ts';

/**
 * A model version of an open store: its files of now, and what questions about it need to know of
 * the catalogue. Compaction puts other files in their place, between two turns of the event loop:
 * whoever reads takes them from here anew after each `await`.
 */
export class VersionStore {
  readonly view: string;
  readonly version: string;
  readonly erasures: ErasedOfVersion;
  private now: VersionFiles;
  private horizonOfView: () => Horizon;

  constructor(
    name: { view: string; version: string },
    files: VersionFiles,
    horizon: () => Horizon,
    erasures: ErasedOfVersion,
  ) {
    this.view = name.view;
    this.version = name.version;
    this.now = files;
    this.horizonOfView = horizon;
    this.erasures = erasures;
  }

  get files(): VersionFiles {
    return this.now;
  }
  get horizon(): Horizon {
    return this.horizonOfView();
  }
  get environment(): Environment {
    return this.now.environment;
  }
  get timelines(): Timelines {
    return this.now.timelines;
  }
  get vectors(): VectorPool {
    return this.now.vectors;
  }
  get inputs(): Inputs {
    return this.now.inputs;
  }
  /** Of versions that keep their inputs. */
  get texts(): Texts | undefined {
    return this.now.texts;
  }
  get fields(): Fields {
    return this.now.fields;
  }
  get log(): ChangeLog {
    return this.now.log;
  }
  get deadLetters(): DeadLetters {
    return this.now.deadLetters;
  }
  get offsets(): Offsets {
    return this.now.offsets;
  }

  counters(): Counters {
    return this.now.counters();
  }

  /** Within a commit. */
  putCounters(counters: Counters): void {
    this.now.putCounters(counters);
  }

  /** Copies the vector of an equal input that was embedded before; false when there is none. */
  copyPooled(inputHash: Uint8Array, out: Uint8Array): boolean {
    const { inputs, vectors } = this.now;
    const id = inputs.vectorId(inputHash);
    if (id === undefined || !vectors.has(id)) return false;
    vectors.copyInto(id, out, 0);
    return true;
  }

  /** Goes on with other files, which hold the same. Gives those of before, to be closed. */
  switchTo(files: VersionFiles): VersionFiles {
    const before = this.now;
    this.now = files;
    return before;
  }

  async close(): Promise<void> {
    await this.now.close();
  }
}
