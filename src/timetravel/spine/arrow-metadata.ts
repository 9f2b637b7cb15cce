/*
 * What describes an Arrow message is a flatbuffer: tables that point at other tables and vectors by
 * offsets. apache-arrow follows them wherever they lead, and makes an object for each member of a
 * vector of any length. Here it is found out beforehand whether all of them can be there.
 *
 * table   i32: how far in front of it its vtable is │ its fields
 * vtable  u16 its bytes │ u16 the table's │ u16 a field: where in the table it is, 0 where it is not
 * vector  u32 length │ its members; tables and vectors are u32 offsets from where these stand
 *
 * Message      1 u8 kind of the header │ 2 the header: a table │ 4 custom metadata
 * Schema       1 fields │ 2 custom metadata
 * Field        2 u8 kind of its type │ 3 the type: a table │ 5 children: fields │ 6 custom metadata
 * FixedSize    0 i32 of a list its members, of bytes their number
 * RecordBatch  1 nodes (16 bytes) │ 2 buffers (16 bytes) │ 4 counts of variadic buffers (8 bytes)
 * Dictionary   1 its RecordBatch
 * Footer       1 its Schema │ 2, 3 where dictionaries and batches are (24 bytes)
 */
const SCHEMA = 1;
const DICTIONARY = 2;
const RECORD_BATCH = 3;
const FIXED_SIZE_BYTES = 15;
const FIXED_SIZE_LIST = 16;
const OFFSET_BYTES = 4;
const BLOCK_BYTES = 24;
const REGION_BYTES = 16;
const COUNT_BYTES = 8;
/** More than any schema has; fewer than would be felt. */
const FIELDS_MAX = 2 ** 17;
const DEPTH_MAX = 64;
/** Far more than any vector has; a list of nulls takes no bytes, whatever its size. */
export const FIXED_SIZE_MAX = 2 ** 24;

/** Whether the message can be decoded: no vector is longer than there are bytes for it. */
export function isSaneMetadata(bytes: Uint8Array): boolean {
  return isSane(() => new Metadata(bytes).isMessage());
}

/** The same of the footer of a file. */
export function isSaneFooter(bytes: Uint8Array): boolean {
  return isSane(() => new Metadata(bytes).isFooter());
}

function isSane(look: () => boolean): boolean {
  try {
    return look();
  } catch (error) {
    // An offset that leads out of the bytes.
    if (error instanceof RangeError) return false;
    throw error;
  }
}

class Metadata {
  private view: DataView;
  private fields = 0;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  isFooter(): boolean {
    const footer = this.view.getUint32(0, true);
    const schema = this.table(footer, 1);
    if (schema === undefined || !this.isSchema(schema)) return false;
    return this.fits(footer, 2, BLOCK_BYTES) && this.fits(footer, 3, BLOCK_BYTES);
  }

  isMessage(): boolean {
    const message = this.view.getUint32(0, true);
    const kindAt = this.member(message, 1);
    const header = this.table(message, 2);
    if (kindAt === undefined || header === undefined) return false;
    if (!this.fits(message, 4, OFFSET_BYTES)) return false;
    const kind = this.view.getUint8(kindAt);
    if (kind === SCHEMA) return this.isSchema(header);
    if (kind === RECORD_BATCH) return this.isBatch(header);
    const batch = kind === DICTIONARY ? this.table(header, 1) : undefined;
    return batch === undefined || this.isBatch(batch);
  }

  private isSchema(table: number): boolean {
    return this.areFields(table, 1, 0) && this.fits(table, 2, OFFSET_BYTES);
  }

  private isBatch(table: number): boolean {
    return (
      this.fits(table, 1, REGION_BYTES) &&
      this.fits(table, 2, REGION_BYTES) &&
      this.fits(table, 4, COUNT_BYTES)
    );
  }

  private areFields(table: number, slot: number, depth: number): boolean {
    if (depth > DEPTH_MAX || !this.fits(table, slot, OFFSET_BYTES)) return false;
    const vector = this.table(table, slot);
    if (vector === undefined) return true;
    const length = this.view.getUint32(vector, true);
    this.fields += length;
    // Damaged offsets may lead to the same fields again and again.
    if (this.fields > FIELDS_MAX) return false;
    for (let at = 0; at < length; at++) {
      const member = vector + OFFSET_BYTES * (at + 1);
      const field = member + this.view.getUint32(member, true);
      if (!this.fits(field, 6, OFFSET_BYTES) || !this.isType(field)) return false;
      if (!this.areFields(field, 5, depth + 1)) return false;
    }
    return true;
  }

  /** Whether a type of a fixed size has one that can be. */
  private isType(field: number): boolean {
    const kindAt = this.member(field, 2);
    const kind = kindAt === undefined ? 0 : this.view.getUint8(kindAt);
    if (kind !== FIXED_SIZE_BYTES && kind !== FIXED_SIZE_LIST) return true;
    const type = this.table(field, 3);
    const sizeAt = type === undefined ? undefined : this.member(type, 0);
    const size = sizeAt === undefined ? 0 : this.view.getInt32(sizeAt, true);
    return size >= 0 && size <= FIXED_SIZE_MAX;
  }

  /** Whether there are bytes for all members of a vector. */
  private fits(table: number, slot: number, memberBytes: number): boolean {
    const vector = this.table(table, slot);
    if (vector === undefined) return true;
    const end = vector + OFFSET_BYTES + this.view.getUint32(vector, true) * memberBytes;
    return end <= this.view.byteLength;
  }

  /** Where the table or vector begins that a field points at. */
  private table(table: number, slot: number): number | undefined {
    const at = this.member(table, slot);
    return at === undefined ? undefined : at + this.view.getUint32(at, true);
  }

  private member(table: number, slot: number): number | undefined {
    const vtable = table - this.view.getInt32(table, true);
    const at = OFFSET_BYTES + slot * 2;
    if (at >= this.view.getUint16(vtable, true)) return undefined;
    const offset = this.view.getUint16(vtable + at, true);
    return offset === 0 ? undefined : table + offset;
  }
}
