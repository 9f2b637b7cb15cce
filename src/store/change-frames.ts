import { Packr, Unpackr } from 'msgpackr';

import { assert } from '../ground/assert.ts';
import type { CatalogueEvent, FeatureView, Lineage } from './catalogue.ts';
import type { Change } from './change-log.ts';
import { TOMBSTONE } from './chunk.ts';
import type { FieldRow } from './fields.ts';
import { hasInt8, hasKeptInputs } from './format.ts';
import type { SourcePosition } from './keys.ts';
import type { LeaderChanges } from './leader.ts';
import { NumberSet } from './number-set.ts';
import type { VersionStore } from './version-store.ts';

/**
 * What a leader tells its replicas: a stream of frames.
 *
 * u32  bytes of what follows, little-endian
 *      MessagePack of one frame: a map with a `type`
 *
 * hello      once, first: see `Hello`
 * event      one change of the catalogue; they run ahead of the revisions, in their own order
 * changes    revisions of one model version, in columns: see `PackedChanges`
 * watermark  no revision up to `up_to` is still to come: see `Watermark`
 * error      why the stream ends here: a problem's code and detail
 */
export type Frame =
  | Hello
  | { type: 'event'; event: CatalogueEvent }
  | ({ type: 'changes' } & LeaderChanges)
  | Watermark
  | { type: 'error'; code: string; detail: string };

export interface Hello {
  type: 'hello';
  /** Of this stream: raised when older replicas could no longer read it. */
  format: number;
  lineage: Lineage;
  /**
   * A replica must know the erased entities by the leader's own hashes. Nobody else is told the key:
   * with it, who was erased could be found out by trying ids (A8).
   */
  erasure_key: Uint8Array;
  /** The leader's own, to catch up with. */
  snapshot: number;
}

export interface Watermark {
  type: 'watermark';
  up_to: number;
  /** No commit is cut in two by this snapshot; 0 where none such is known. Older leaders do not say. */
  whole?: number;
  /** The leader's own at that moment. */
  snapshot: number;
  /** The leader may have given seqs up to this one. */
  seq_reserved: number;
  /** The leader's clock, µs. */
  time: number;
}

/**
 * Columns are bytes of numbers, little-endian: f64, and i32 for `origin_of`. Rows from a source have
 * there the place of their origin (source, topic and partition), the others −1. `vectors` are those
 * of `sent_ids` one after another, each sent where the stream first refers to it.
 */
interface PackedChanges {
  type: 'changes';
  view: string;
  version: string;
  entity_ids: string[];
  seqs: Uint8Array;
  events: Uint8Array;
  knowns: Uint8Array;
  createds: Uint8Array;
  vector_ids: Uint8Array;
  origins: [source: string, topic: string, partition: number][];
  origin_of: Uint8Array;
  offsets: Uint8Array;
  sent_ids: Uint8Array;
  vectors: Uint8Array;
  /** Of versions that keep their inputs: what is stored of the texts of `sent_ids`. */
  texts?: (Uint8Array | null)[];
  /** Of versions whose prompt has parts. */
  fields?: FieldRow[];
}

const CHANGES_FORMAT = 1;
/** The same with vectors of int8. */
const INT8_CHANGES_FORMAT = 2;
/** The same with texts of inputs: older replicas could not erase them. */
const KEPT_CHANGES_FORMAT = 3;
/** The newest that can be read. */
export const CHANGES_FORMAT_MAX = KEPT_CHANGES_FORMAT;

/** The format of the stream of a store with these views. */
export function changesFormat(views: readonly FeatureView[]): number {
  if (hasKeptInputs(views)) return KEPT_CHANGES_FORMAT;
  return hasInt8(views) ? INT8_CHANGES_FORMAT : CHANGES_FORMAT;
}

/** Far above any frame: what claims to be longer is something else. */
const FRAME_BYTES_MAX = 2 ** 28;
const LENGTH_BYTES = 4;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** A frame that is not of revisions, as bytes. */
export function encodeFrame(frame: Exclude<Frame, { type: 'changes' }>): Buffer {
  return seal(frame);
}

/** Makes frames of revisions for one stream, and knows which vectors it has sent. */
export class ChangesEncoder {
  /** By the version itself: one made anew under the same name has other vectors. */
  private sent = new WeakMap<VersionStore, NumberSet>();
  /** The same of versions that keep their inputs. */
  private sentWithTexts = new WeakMap<VersionStore, NumberSet>();

  /**
   * `parts`: those of the version's prompt. Throws STORE_CORRUPT for a vector that is not what was
   * written.
   */
  encode(version: VersionStore, changes: readonly Change[], parts: readonly string[] = []): Buffer {
    const column = (of: (change: Change) => number) => bytesOf(Float64Array.from(changes, of));
    const { origins, originOf } = originsOf(changes);
    const fresh = this.freshVectors(version, changes);
    const { texts } = version;
    const { vectorBytes } = version.vectors;
    const vectors = new Uint8Array(fresh.length * vectorBytes);
    fresh.forEach((id, at) => version.vectors.copyVerified(id, vectors, at * vectorBytes));
    return seal({
      type: 'changes',
      view: version.view,
      version: version.version,
      entity_ids: changes.map(({ entityId }) => entityId),
      seqs: column(({ seq }) => seq),
      events: column(({ event }) => event),
      knowns: column(({ known }) => known),
      createds: column(({ created }) => created),
      vector_ids: column(({ vectorId }) => vectorId),
      origins,
      origin_of: originOf,
      offsets: column(({ position }) => position?.offset ?? -1),
      sent_ids: bytesOf(Float64Array.from(fresh)),
      vectors,
      ...(texts && { texts: fresh.map((id) => texts.stored(id) ?? null) }),
      ...(parts.length > 0 && { fields: version.fields.atMoments(changes, parts) }),
    } satisfies PackedChanges);
  }

  /**
   * Sends again what has a text: an erasure may have taken it from a replica that had not heard yet
   * of another entity with the same one.
   */
  forgetTexts(): void {
    this.sentWithTexts = new WeakMap();
  }

  /** The vectors that the changes refer to and this stream has not sent, which it now has. */
  private freshVectors(version: VersionStore, changes: readonly Change[]): number[] {
    const ofStream = version.texts === undefined ? this.sent : this.sentWithTexts;
    let sent = ofStream.get(version);
    if (sent === undefined) ofStream.set(version, (sent = new NumberSet()));
    const fresh: number[] = [];
    for (const { vectorId } of changes) {
      if (vectorId === TOMBSTONE || sent.has(vectorId)) continue;
      sent.add(vectorId);
      fresh.push(vectorId);
    }
    return fresh;
  }
}

function originsOf(changes: readonly Change[]): {
  origins: PackedChanges['origins'];
  originOf: Uint8Array;
} {
  const places = new Map<string, number>();
  const origins: PackedChanges['origins'] = [];
  const originOf = Int32Array.from(changes, ({ position }) => {
    if (position === undefined) return -1;
    const { source, topic, partition } = position;
    const name = `${source}\0${topic}\0${partition}`;
    let place = places.get(name);
    if (place === undefined) {
      place = origins.push([source, topic, partition]) - 1;
      places.set(name, place);
    }
    return place;
  });
  return { origins, originOf: bytesOf(originOf) };
}

/**
 * The frames of a stream; each as soon as it is whole. Throws where the stream breaks off within
 * one, and for bytes that are none. `bytes`: what the frame took.
 */
export async function* readFrames(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ frame: Frame; bytes: number }> {
  let parts: Uint8Array[] = [];
  let held = 0;
  let wanted = LENGTH_BYTES;
  for await (const part of source) {
    parts.push(part);
    held += part.byteLength;
    if (held < wanted) continue;
    const bytes = parts.length === 1 ? bufferOf(part) : Buffer.concat(parts);
    let at = 0;
    for (;;) {
      const isCounted = held - at >= LENGTH_BYTES;
      const length = isCounted ? bytes.readUInt32LE(at) : 0;
      if (length > FRAME_BYTES_MAX) throw new Error(`got a frame of ${length} bytes`);
      wanted = LENGTH_BYTES + length;
      if (!isCounted || held - at < wanted) break;
      const frame = openFrame(bytes.subarray(at + LENGTH_BYTES, at + wanted));
      yield { frame, bytes: wanted };
      at += wanted;
    }
    parts = [bytes.subarray(at)];
    held -= at;
  }
  if (held > 0) throw new Error('the stream broke off within a frame');
}

function openFrame(bytes: Buffer): Frame {
  const frame = unpackr.unpack(bytes) as Exclude<Frame, { type: 'changes' }> | PackedChanges;
  return frame.type === 'changes' ? openChanges(frame) : frame;
}

function openChanges(packed: PackedChanges): Frame {
  const { view, version, entity_ids, origins } = packed;
  const seqs = float64s(packed.seqs);
  const events = float64s(packed.events);
  const knowns = float64s(packed.knowns);
  const createds = float64s(packed.createds);
  const vectorIds = float64s(packed.vector_ids);
  const offsets = float64s(packed.offsets);
  const originOf = new Int32Array(copyOf(packed.origin_of));
  const positionOf = (at: number): SourcePosition | undefined => {
    const origin = origins[originOf[at]!];
    if (origin === undefined) return undefined;
    const [source, topic, partition] = origin;
    return { source, topic, partition, offset: offsets[at]! };
  };
  const changes = entity_ids.map((entityId, at) => ({
    entityId,
    seq: seqs[at]!,
    event: events[at]!,
    known: knowns[at]!,
    created: createds[at]!,
    vectorId: vectorIds[at]!,
    position: positionOf(at),
  }));
  const sentIds = float64s(packed.sent_ids);
  const vectorBytes = sentIds.length === 0 ? 0 : packed.vectors.byteLength / sentIds.length;
  assert(seqs.length === changes.length, 'a frame has a seq for every entity id');
  assert(Number.isInteger(vectorBytes), 'a frame has every vector whole');
  const vectors = new Map(
    Array.from(sentIds, (id, at) => [
      id,
      packed.vectors.subarray(at * vectorBytes, (at + 1) * vectorBytes),
    ]),
  );
  const { fields } = packed;
  const texts =
    packed.texts &&
    new Map(packed.texts.flatMap((text, at) => (text === null ? [] : [[sentIds[at]!, text]])));
  return {
    type: 'changes',
    view,
    version,
    changes,
    vectors,
    ...(texts && { texts }),
    ...(fields && { fields }),
  };
}

function seal(frame: object): Buffer {
  const body = packr.pack(frame);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(body.byteLength);
  return Buffer.concat([length, body]);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float64Array | Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function float64s(bytes: Uint8Array): Float64Array {
  return new Float64Array(copyOf(bytes));
}

/** Numbers must start on a multiple of their size, which nothing in a message does. */
function copyOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
