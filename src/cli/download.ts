import { createHash } from 'node:crypto';
import { createReadStream, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import type { ExportManifest } from '../api/schemas/exports.ts';
import { makeFolder } from '../store/folders.ts';
import type { Client } from './client.ts';
import { ServerRefused, ServerUnreachable, UsageError } from './failure.ts';
import type { Sleep } from './retry.ts';

type ExportFile = ExportManifest['files'][number];

const TRIES_MAX = 5;
const WAIT_MS = 1_000;
const MANIFEST_FILE = 'manifest.json';
const UNFINISHED = '.download';

/**
 * Brings the files of an export into a directory, each checked by its SHA-256, the manifest last: a
 * directory that has it has all of them. What broke off goes on where it was, also in a later run.
 * `onBytes` hears of all bytes that are there.
 */
export async function downloadExport(
  client: Client,
  id: string,
  directory: string,
  sleep: Sleep,
  onBytes: (bytes: number) => void,
): Promise<ExportManifest> {
  const manifest = await client.exportManifest(id);
  let bytes = 0;
  for (const file of manifest.files) {
    // It comes from a server: a path of ours is two names.
    if (!/^(parts|vectors)\/[A-Za-z0-9][\w@.-]*$/.test(file.path)) {
      throw new ServerUnreachable(`the manifest of ${id} names ${file.path}, as Tidemark does not`);
    }
    await downloadFile(client, id, file, join(directory, file.path), sleep, (more) =>
      onBytes((bytes += more)),
    );
  }
  const path = join(directory, MANIFEST_FILE);
  makeFolder(directory);
  await writeFile(`${path}${UNFINISHED}`, `${JSON.stringify(manifest, undefined, 2)}\n`, {
    flush: true,
  });
  renameSync(`${path}${UNFINISHED}`, path);
  return manifest;
}

async function downloadFile(
  client: Client,
  id: string,
  file: ExportFile,
  path: string,
  sleep: Sleep,
  onBytes: (bytes: number) => void,
): Promise<void> {
  if (existsSync(path)) {
    if ((await sumOf(path)).digest('hex') === file.sha256) {
      onBytes(file.bytes);
      return;
    }
    throw new UsageError(
      `${path} is there, and is another file than the export’s: name an empty directory with --out`,
    );
  }
  makeFolder(dirname(path));
  const unfinished = `${path}${UNFINISHED}`;
  const known = sizeOf(unfinished);
  if (known > 0) onBytes(known);
  for (let tries = 1; ; tries++) {
    try {
      await fetchRest(client, id, file, unfinished, onBytes);
      break;
    } catch (error) {
      // What came before the connection broke is kept, and not asked for again.
      if (error instanceof ServerRefused || tries === TRIES_MAX) throw error;
      await sleep(WAIT_MS * tries);
    }
  }
  if ((await sumOf(unfinished)).digest('hex') !== file.sha256) {
    rmSync(unfinished);
    throw new ServerUnreachable(
      `${file.path} came with other bytes than it was written with, and was removed; fetch it again`,
    );
  }
  renameSync(unfinished, path);
}

async function fetchRest(
  client: Client,
  id: string,
  { path, bytes, sha256 }: ExportFile,
  unfinished: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const from = sizeOf(unfinished);
  if (from === bytes && from > 0) return;
  const answer = await client.exportFile(id, path, from, sha256);
  await using file = await open(unfinished, answer.status === 206 ? 'a' : 'w');
  for await (const chunk of answer.body ?? []) {
    await file.writeFile(chunk);
    onBytes(chunk.byteLength);
  }
  await file.sync();
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

async function sumOf(path: string): Promise<ReturnType<typeof createHash>> {
  const sum = createHash('sha256');
  for await (const chunk of createReadStream(path)) sum.update(chunk as Buffer);
  return sum;
}
