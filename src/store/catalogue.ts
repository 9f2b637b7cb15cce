import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { pack, unpack } from 'msgpackr';

import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { Dtype } from './dtype.ts';
import { Environment, type Table } from './environment.ts';
import { textKeys } from './keys.ts';

/** What makes a model version's vectors from text. Names as on the wire. */
export interface ModelBinding {
  /** A folder among the models. */
  name: string;
  /** What the model and the prompt were when the version was made: vectors of others never mix in. */
  fingerprint: string;
  /** How fields become the model's input; absent where only whole texts are taken. */
  prompt?: { template: string; fields: string[] };
}

export interface ModelVersion {
  version: string;
  dim: number;
  dtype: Dtype;
  created_timestamp: Micros;
  model?: ModelBinding;
}

/** A named embedding of one entity type, with its model versions. */
export interface FeatureView {
  name: string;
  entity: string;
  /** The column that holds the entity's id in spines and exports. */
  join_key: string;
  created_timestamp: Micros;
  /** By version; never empty. */
  versions: Record<string, ModelVersion>;
  /** The version that answers where none is named. */
  aliases: { current: string };
}

const SEQ_RESERVED = 'seq_reserved';
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const VERSION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** True for names that can stand in a path, a reference `view@version` and a column. */
export function isViewName(name: string): boolean {
  return NAME.test(name);
}

export function isVersionName(name: string): boolean {
  return VERSION_NAME.test(name);
}

/**
 * The feature views, their versions and aliases, and the block of seqs handed out. Small: read
 * whole at the start, written through.
 */
export class Catalogue {
  private environment: Environment;
  private viewTable: Table<string>;
  private meta: Table<string>;
  private dropped: Table<string>;
  private byName = new Map<string, FeatureView>();
  private directory: string;

  constructor(directory: string) {
    this.directory = directory;
    this.environment = new Environment(join(directory, 'catalogue'));
    this.viewTable = this.environment.table('view', textKeys);
    this.meta = this.environment.table('meta', textKeys);
    this.dropped = this.environment.table('dropped', textKeys);
    for (const { value } of this.viewTable.getRange({ start: undefined })) {
      const view = unpack(value) as FeatureView;
      this.byName.set(view.name, view);
    }
  }

  views(): FeatureView[] {
    return [...this.byName.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  view(name: string): FeatureView | undefined {
    return this.byName.get(name);
  }

  /** Throws VIEW_NOT_FOUND. */
  mustGetView(name: string): FeatureView {
    const view = this.byName.get(name);
    if (view === undefined) {
      throw new TidemarkError(
        'VIEW_NOT_FOUND',
        `there is no feature view ${JSON.stringify(name)}; create it with PUT /v1/feature-views/{view}`,
      );
    }
    return view;
  }

  /** The version of that name, or the one that `current` names. Throws VERSION_NOT_FOUND. */
  mustGetVersion(view: FeatureView, name?: string): ModelVersion {
    const asked = name ?? view.aliases.current;
    const version = Object.hasOwn(view.versions, asked) ? view.versions[asked] : undefined;
    if (version === undefined) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the feature view ${view.name} has no model version ${JSON.stringify(asked)}, ` +
          `it has ${Object.keys(view.versions).join(', ')}`,
      );
    }
    return version;
  }

  /** Stores the view as it now is; durable on return. */
  put(view: FeatureView): void {
    this.environment.commitSync(() => {
      void this.viewTable.put(view.name, pack(view));
      // A drop of that name that could not be finished must not take the new view's files.
      void this.dropped.remove(view.name);
    });
    this.byName.set(view.name, view);
  }

  folder(view: string, version?: string): string {
    return version === undefined
      ? join(this.directory, 'views', view)
      : join(this.directory, 'views', view, version);
  }

  /**
   * Forgets the view; `finishDrop` unlinks its files. The intent is stored with the removal, so that
   * a crash in between is finished at the next start.
   */
  drop(name: string): void {
    this.environment.commitSync(() => {
      void this.viewTable.remove(name);
      void this.dropped.put(name, new Uint8Array(1));
    });
    this.byName.delete(name);
  }

  /** Finishes the drops that a crash left half done. */
  finishDrops(): void {
    const names = Array.from(this.dropped.getRange({ start: undefined }), ({ key }) => key);
    for (const name of names) this.finishDrop(name);
  }

  /** Unlinks the files of a dropped view, which nobody has open any more. */
  finishDrop(name: string): void {
    rmSync(this.folder(name), { recursive: true, force: true });
    this.environment.commitSync(() => void this.dropped.remove(name));
  }

  /** Seqs up to this one may have been given to revisions, by this process or an earlier one. */
  seqReserved(): number {
    const value = this.meta.getBinary(SEQ_RESERVED);
    return value ? Buffer.from(value).readDoubleLE() : 0;
  }

  /** Resolves when it is durable that seqs up to `upTo` may be in use. */
  async reserveSeqs(upTo: number): Promise<void> {
    const value = Buffer.alloc(8);
    value.writeDoubleLE(upTo);
    await this.environment.commit(() => void this.meta.put(SEQ_RESERVED, value));
    await this.environment.flushed();
  }

  async close(): Promise<void> {
    await this.environment.close();
  }
}
