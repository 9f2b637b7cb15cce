import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { TidemarkError } from '../../ground/errors.ts';
import { isSystemError, systemWords } from '../../ground/system-error.ts';
import { messageOf } from './failure.ts';
import { fingerprintOf, MANIFEST_FILE, parseManifest, type Manifest } from './manifest.ts';

/** A model folder whose manifest has been read. */
export interface Model {
  /** The path of the folder. */
  readonly folder: string;
  readonly manifest: Manifest;
  readonly fingerprint: string;
}

/**
 * Reads a model folder and checks every file in it against the manifest, so that vectors are never
 * made by half a download. Throws MODEL_INVALID with the file and what is wrong with it.
 */
export async function loadModel(folder: string): Promise<Model> {
  const model = await readModel(folder);
  for (const [file, expected] of Object.entries(model.manifest.sha256)) {
    const got = await sha256File(join(folder, file)).catch((error: unknown) => {
      throw invalid(folder, `${file} cannot be read: ${wordsOf(error)}`, error);
    });
    if (got !== expected) {
      throw invalid(folder, `${file} has SHA-256 ${got}, its manifest says ${expected}`);
    }
  }
  return model;
}

/** Reads the manifest of a model folder and trusts its files. Throws MODEL_INVALID. */
export async function readModel(folder: string): Promise<Model> {
  const text = await readFile(join(folder, MANIFEST_FILE), 'utf8').catch((error: unknown) => {
    throw invalid(folder, `${MANIFEST_FILE} cannot be read: ${wordsOf(error)}`, error);
  });
  const parsed = parseManifest(text);
  if ('problem' in parsed) throw invalid(folder, `${MANIFEST_FILE}: ${parsed.problem}`);
  return { folder, manifest: parsed.manifest, fingerprint: fingerprintOf(parsed.manifest) };
}

/** SHA-256 of a file's bytes, in hex, without holding them all: graphs have gigabytes. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Who asks for a model over the network need not know where in the system it is. */
function invalid(folder: string, problem: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'MODEL_INVALID',
    `the model ${basename(folder)} is not in order: ${problem}`,
    { cause },
  );
}

function wordsOf(error: unknown): string {
  return isSystemError(error) ? systemWords(error) : messageOf(error);
}
