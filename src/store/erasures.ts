import { hash } from 'node:crypto';

import { ENTRY_BYTES, ErasedHashes } from './erased-hashes.ts';

/**
 * Bytes of the hash that stands for an erased entity: among 10⁹ entities two collide with p < 10⁻²⁰.
 * After it comes the length of the id, by which one is looked for in a text: u16, little-endian.
 */
const HASH_BYTES = 16;

/** What an erasure reaches: an entity in all views of its type, or in one view. */
export interface ErasureScope {
  /** The entity type. */
  entity: string;
  /** One feature view alone; undefined for all of the type, present and future. */
  view?: string | undefined;
}

/** What a question asks about the erased entities of a model version (A8). */
export interface ErasedEntities {
  /** No entity of the view was erased: nobody need ask. */
  readonly none: boolean;
  /** No erased entity has a timeline in the version: one that has need not be asked about. */
  readonly settled: boolean;
  has(id: string): boolean;
}

export interface ErasedOfVersion extends ErasedEntities {
  /** The lengths that erased ids have, in UTF-16 units. */
  lengths(): ReadonlySet<number>;
  /** What it says now, for another thread. */
  copy(): ErasedCopy;
}

/** Can be cloned to another thread: see `erasedFrom`. */
export interface ErasedCopy {
  key: Uint8Array;
  /** Those with an erased entity. */
  scopes: { scope: ErasureScope; hashes: SharedArrayBuffer }[];
  settled: boolean;
}

/** What a version knows of erased entities, as it was when the copy was made. */
export function erasedFrom({ key, scopes, settled }: ErasedCopy): ErasedEntities {
  const reaching = scopes.map(({ scope, hashes }) => ({ scope, hashes: new ErasedHashes(hashes) }));
  return {
    none: scopes.length === 0,
    settled,
    has: (id) => reaching.some(({ scope, hashes }) => hashes.has(hashOf(key, scope, id))),
  };
}

/**
 * The erased entities of a store (A8), known by keyed hashes alone: whoever holds the files cannot
 * tell who was erased without guessing the id, and nothing here brings an id back.
 */
export class Erasures {
  private key: Uint8Array;
  private scopes = new Map<string, Set<string>>();
  /** Those of them that threads have asked for since they changed. */
  private shared = new Map<string, ErasedHashes>();

  /** `key`: the store's own, secret, random. */
  constructor(key: Uint8Array) {
    this.key = key;
  }

  /** A replica hashes as its leader does. */
  useKey(key: Uint8Array): void {
    this.key = key;
  }

  /** What is known of an entity in a scope: its hash, with the id's length, one character a byte. */
  hashOf(scope: ErasureScope, id: string): string {
    return hashOf(this.key, scope, id);
  }

  has(scope: ErasureScope, known: string): boolean {
    return this.scopes.get(scopeName(scope))?.has(known) === true;
  }

  add(scope: ErasureScope, hashes: Iterable<string>): void {
    const name = scopeName(scope);
    let set = this.scopes.get(name);
    if (set === undefined) this.scopes.set(name, (set = new Set()));
    for (const each of hashes) set.add(each);
    this.shared.delete(name);
  }

  remove(scope: ErasureScope, hashes: Iterable<string>): void {
    const name = scopeName(scope);
    const set = this.scopes.get(name);
    for (const each of hashes) set?.delete(each);
    this.shared.delete(name);
    if (set?.size === 0) this.scopes.delete(name);
  }

  /** What a version of a view asks. `isSettled`: see `ErasedOfVersion`. */
  of(entity: string, view: string, isSettled: () => boolean): ErasedOfVersion {
    const { scopes } = this;
    const reaching = [{ entity }, { entity, view }].map((scope: ErasureScope) => ({
      scope,
      name: scopeName(scope),
    }));
    const has = (id: string): boolean =>
      reaching.some(({ scope, name }) => scopes.get(name)?.has(this.hashOf(scope, id)) === true);
    const erased: ErasedOfVersion = {
      get none() {
        return scopes.size === 0 || !reaching.some(({ name }) => scopes.has(name));
      },
      get settled() {
        return scopes.size === 0 || isSettled();
      },
      has,
      lengths: () =>
        new Set(reaching.flatMap(({ name }) => Array.from(scopes.get(name) ?? [], lengthOf))),
      copy: () => ({
        key: this.key,
        scopes: reaching
          .filter(({ name }) => scopes.has(name))
          .map(({ scope, name }) => ({ scope, hashes: this.share(name) })),
        settled: erased.settled,
      }),
    };
    return erased;
  }

  private share(name: string): SharedArrayBuffer {
    let found = this.shared.get(name);
    if (found === undefined) {
      this.shared.set(name, (found = ErasedHashes.of(this.scopes.get(name)!)));
    }
    return found.shared;
  }
}

function hashOf(key: Uint8Array, scope: ErasureScope, id: string): string {
  const text = Buffer.concat([key, Buffer.from(`${scopeName(scope)}\0${id}`)]);
  const known = hash('sha256', text, 'buffer').toString('latin1', 0, HASH_BYTES);
  return known + String.fromCharCode(id.length & 0xff, id.length >>> 8);
}

function lengthOf(known: string): number {
  return known.charCodeAt(HASH_BYTES) | (known.charCodeAt(HASH_BYTES + 1) << 8);
}

function scopeName({ entity, view = '' }: ErasureScope): string {
  return `${entity}\0${view}`;
}

/** Hashes one after another, as they are stored. */
export function packHashes(hashes: readonly string[]): Buffer {
  return Buffer.from(hashes.join(''), 'latin1');
}

export function unpackHashes(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  return Array.from({ length: text.length / ENTRY_BYTES }, (_, at) =>
    text.slice(at * ENTRY_BYTES, (at + 1) * ENTRY_BYTES),
  );
}
