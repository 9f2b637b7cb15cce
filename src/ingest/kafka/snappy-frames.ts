/*
 * What Java's producers write for snappy: a header of 16 bytes, and blocks until the end.
 *
 *   8 bytes   0x82 S N A P P Y 0x00
 *   i32       version, big-endian
 *   i32       least version that can read it
 *   each block:
 *     i32     length of the block
 *     bytes   the block, as snappy compressed it
 *
 * Others write one block, bare.
 */
const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const HEADER_BYTES = 16;

/** The compressed blocks in turn, as views. Throws for frames that do not fill the bytes. */
export function unframeSnappy(bytes: Buffer): Buffer[] {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return [bytes];
  const blocks: Buffer[] = [];
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    // Two streams may have been written one after the other.
    if (bytes.subarray(at, at + MAGIC.length).equals(MAGIC)) at += HEADER_BYTES;
    const length = bytes.readInt32BE(at);
    const end = at + 4 + length;
    if (length < 0 || end > bytes.length) {
      throw new Error(`a snappy block of ${length} bytes at ${at}, of ${bytes.length} in all`);
    }
    blocks.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return blocks;
}
