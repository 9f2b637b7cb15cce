import { closeSync, openSync, writeSync } from 'node:fs';

import { eachEntry, Environment, type KeyCodec } from '../../src/store/environment.ts';

const PAGE = 10_000;

/** Keys as they are in the file. */
const plainKeys: KeyCodec<Uint8Array> = {
  writeKey(key, target, start) {
    target.set(key, start);
    return start + key.byteLength;
  },
  // The source is a Buffer that is used again, whose own slice is no copy.
  readKey: (source, start, end) => new Uint8Array(source.subarray(start, end)),
};

/**
 * Writes the entries of a database of a store that is closed to `path`, in key order: two lengths
 * (u32, little-endian), the key and the value each.
 */
export async function writeEntries(folder: string, database: string, path: string): Promise<void> {
  const environment = new Environment(folder, 'read-only');
  const file = openSync(path, 'w');
  for (const { key, value } of eachEntry(environment.table(database, plainKeys), PAGE)) {
    const lengths = Uint32Array.of(key.byteLength, value.byteLength);
    writeSync(file, Buffer.concat([new Uint8Array(lengths.buffer), key, value]));
  }
  closeSync(file);
  await environment.close();
}
