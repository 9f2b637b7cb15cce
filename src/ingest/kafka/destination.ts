import { TidemarkError } from '../../ground/errors.ts';
import { type CommitResult, RevisionBatch } from '../../store/batch.ts';
import type { ModelVersion } from '../../store/catalogue.ts';
import { lettersKey } from '../../store/drained.ts';
import { vectorBytes } from '../../store/dtype.ts';
import type { PartitionKey } from '../../store/keys.ts';
import { startKey } from '../../store/starts.ts';
import type { Store } from '../../store/store.ts';
import type { VersionStore } from '../../store/version-store.ts';
import type { BoundSource } from '../source-config.ts';
import type { Chunk } from './chunk.ts';
import { storePosition } from './outbox.ts';

/** The stored offset was not the expected one: another wrote, and this one's work counts for nothing. */
export class Fenced extends Error {
  override name = 'Fenced';
}

/** The model version that a source is bound to, and the source's offsets in it. */
export class Destination {
  readonly target: ModelVersion;
  private store: Store;
  private config: BoundSource;

  /** Throws VIEW_NOT_FOUND, VERSION_NOT_FOUND. */
  constructor(store: Store, config: BoundSource) {
    this.target = targetOf(store, config);
    this.store = store;
    this.config = config;
  }

  now(): number {
    return this.store.clock();
  }

  /** The next offset to read; undefined before the partition's first commit. */
  nextOffset(topic: string, partition: number): bigint | undefined {
    const { environment, offsets } = this.versionStore();
    environment.refresh();
    return offsets.next({ source: this.config.name, topic, partition });
  }

  /** Where the partition was begun; undefined where that is not stored. */
  firstOffset(topic: string, partition: number): bigint | undefined {
    const { environment, offsets } = this.versionStore();
    environment.refresh();
    return offsets.next(startKey({ source: this.config.name, topic, partition }));
  }

  /** Whether the version is there no more, as it was when records were first prepared for it. */
  get isGone(): boolean {
    const { feature_view, version } = this.config;
    const now = this.store.catalogue.view(feature_view)?.versions[version];
    return now === undefined || !isSameVersion(now, this.target);
  }

  /** Commits a chunk with the offset after it (A12). The answer may say that it was fenced. */
  async commit(
    { rows, deadLetters, fields }: Chunk,
    { topic, partition }: { topic: string; partition: number },
    expected: bigint | undefined,
    next: bigint,
  ): Promise<CommitResult> {
    const { name, feature_view, version } = this.config;
    this.versionStore();
    return await this.store.commit(feature_view, version, {
      rows,
      deadLetters,
      ...(fields && { fields }),
      offset: { source: name, topic, partition, expected, next },
    });
  }

  /** Moves the offset alone. Rejects with Fenced. */
  async advance(
    at: { topic: string; partition: number },
    expected: bigint | undefined,
    next: bigint,
  ): Promise<void> {
    const { topic, partition } = at;
    await this.move({ source: this.config.name, topic, partition }, expected, next);
  }

  /** Stores where a partition is begun. Rejects with Fenced where that is stored already. */
  async begin(
    { topic, partition }: { topic: string; partition: number },
    first: bigint,
  ): Promise<void> {
    await this.move(startKey({ source: this.config.name, topic, partition }), undefined, first);
  }

  /** Has the dead letters of a partition published from its first one on, where they are. */
  async publishLettersAgain(at: { topic: string; partition: number }): Promise<void> {
    const { name: source } = this.config;
    const { topic, partition } = at;
    const key = lettersKey({ source, topic, partition });
    const stored = this.versionStore().offsets.next(key);
    if (stored !== undefined) await storePosition(this.store, this.config, key, stored, 0n);
  }

  private async move(key: PartitionKey, expected: bigint | undefined, next: bigint): Promise<void> {
    const { feature_view, version } = this.config;
    const { dim, dtype } = this.target;
    this.versionStore();
    const rows = new RevisionBatch(vectorBytes(dim, dtype), 0);
    const offset = { ...key, expected, next };
    const { fenced } = await this.store.commit(feature_view, version, { rows, offset });
    if (fenced) throw new Fenced();
  }

  /** Throws when the version is not the one that records were prepared for. */
  private versionStore(): VersionStore {
    const { feature_view, version } = this.config;
    const now = targetOf(this.store, this.config);
    if (!isSameVersion(now, this.target)) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the model version ${feature_view}@${version} was made anew while it was read into`,
      );
    }
    return this.store.version(feature_view, version);
  }
}

/** Of a model version, what another one of its name does not have. */
export type Made = Pick<ModelVersion, 'created_timestamp' | 'created_seq'>;

/** One that was made anew may have the name of one that is gone. */
export function isSameVersion(one: Made, other: Made): boolean {
  return one.created_seq === other.created_seq && one.created_timestamp === other.created_timestamp;
}

function targetOf({ catalogue }: Store, { feature_view, version }: BoundSource): ModelVersion {
  return catalogue.mustGetVersion(catalogue.mustGetView(feature_view), version);
}
