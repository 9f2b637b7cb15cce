import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import { pack, unpack } from 'msgpackr';

import { Catalogue, CATALOGUE_FOLDER, type CatalogueEvent, type FeatureView } from './catalogue.ts';
import { CheckedTable } from './checked-table.ts';
import { Environment, type Table } from './environment.ts';
import { textKeys } from './keys.ts';
import { VersionFiles } from './version-files.ts';

/** Keys as they stand in the file. */
const rawKeys = {
  writeKey(key: Uint8Array, target: Buffer, start: number): number {
    target.set(key, start);
    return start + key.byteLength;
  },
  readKey(source: Uint8Array, start: number, end: number): Uint8Array {
    return new Uint8Array(source.subarray(start, end));
  },
};

const PAGE = 1_024;
/** Of an entry of the log, and where in it the lengths of its two texts stand. */
const LOG_FIXED_BYTES = 48;
const LOG_LENGTHS = [44, 46];
const INPUT_ID_BYTES = 8;

/**
 * Brings a directory of format `from` to that of today. What was done is passed by, so that it can be
 * broken off anywhere and be begun again. Throws STORE_CORRUPT.
 *
 * Format 2: every value has a checksum, and views that are older than the catalogue's events have
 * one each, of seq 0, so that whoever follows the changes hears of them first.
 * Format 3: versions have a database of fields.
 */
export function upgradeDirectory(directory: string, from: number): void {
  if (from < 2) upgradeCatalogue(join(directory, CATALOGUE_FOLDER));
  const catalogue = new Catalogue(directory);
  // From here on the files go on from where they were closed.
  catalogue.putClosed(undefined);
  for (const { name, versions } of catalogue.views()) {
    for (const version of Object.values(versions)) {
      const folder = catalogue.filesOf(name, version.version);
      if (from < 2) upgradeVersion(folder);
      // Opening makes the databases that are not there.
      void new VersionFiles(folder, version).close();
    }
  }
  void catalogue.close();
}

function upgradeCatalogue(folder: string): void {
  const environment = new Environment(folder);
  const checked = ['meta', 'dropped', 'event', 'erasure', 'generation'].map(
    (name) => new CheckedTable(environment, name, rawKeys),
  );
  const views = new CheckedTable(environment, 'view', textKeys);
  const first = new CheckedTable(environment, 'first_view', textKeys);
  environment.commitSync(() => {
    for (const table of checked) table.checkAll();
    views.checkAll();
  });
  environment.refresh();
  environment.commitSync(() => {
    for (const { key, value } of views.entries(PAGE)) {
      const view = unpack(value) as FeatureView;
      const event: CatalogueEvent = { type: 'view', view, seq: 0, created: view.created_timestamp };
      first.put(key, pack(event));
    }
  });
  void environment.close();
}

function upgradeVersion(folder: string): void {
  const environment = new Environment(folder);
  const checked = ['meta', 'offset', 'dead_letter'].map(
    (name) => new CheckedTable(environment, name, rawKeys),
  );
  environment.commitSync(() => {
    for (const table of checked) table.checkAll();
  });
  rewrite(environment, 'log', (_key, value) =>
    value.byteLength === logBytes(value) ? withChecksum(value) : undefined,
  );
  rewrite(environment, 'input', (hash, value) =>
    value.byteLength === INPUT_ID_BYTES
      ? withChecksum(Buffer.concat([hash, value])).subarray(hash.byteLength)
      : undefined,
  );
  void environment.close();
}

/** What an entry of the log has without a checksum. */
function logBytes(value: Buffer): number {
  return LOG_LENGTHS.reduce((bytes, at) => bytes + value.readUInt16LE(at), LOG_FIXED_BYTES);
}

function withChecksum(value: Buffer): Buffer {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(value));
  return Buffer.concat([value, checksum]);
}

/** Puts what `change` makes of each entry in its place, a page at a time. */
function rewrite(
  environment: Environment,
  name: string,
  change: (key: Uint8Array, value: Buffer) => Buffer | undefined,
): void {
  const table: Table<Uint8Array> = environment.table(name, rawKeys);
  let start: Uint8Array | undefined;
  for (;;) {
    const range = table.getRange({ start, exclusiveStart: start !== undefined, limit: PAGE });
    const page = Array.from(range);
    if (page.length === 0) return;
    environment.commitSync(() => {
      for (const { key, value } of page) {
        const changed = change(key, Buffer.from(value));
        if (changed !== undefined) void table.put(key, changed);
      }
    });
    // Otherwise the pages that were replaced are kept for this reader.
    environment.refresh();
    start = page.at(-1)!.key;
  }
}
