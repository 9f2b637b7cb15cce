import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { TidemarkError } from '../../ground/errors.ts';
import { excerpt } from '../../ground/excerpt.ts';
import { messageOf } from './failure.ts';
import { MANIFEST_FILE, MODEL_NAME } from './manifest.ts';
import { loadModel, type Model, readModel } from './model.ts';
import { OnnxBackend } from './onnx-backend.ts';
import { importModel } from './sentence-transformers.ts';

// The models that come with Tidemark: three folders up from here in a clone (src/) as in the built
// package (dist/).
const BUNDLED_DIR = fileURLToPath(new URL('../../../models', import.meta.url));

/** A model folder as `listModels` finds it. */
export interface ModelEntry {
  name: string;
  folder: string;
  /** Whether it came with Tidemark. */
  bundled: boolean;
  /** What it says of itself, or what is wrong with it; its files are not read. */
  model: Model | { problem: string };
}

/** The bundled models, then those in `modelsDir` (which need not exist), each by name. */
export async function listModels(modelsDir: string): Promise<ModelEntry[]> {
  const bundled = await listFolder(BUNDLED_DIR, true);
  const names = new Set(bundled.map(({ name }) => name));
  const added = await listFolder(modelsDir, false);
  return [...bundled, ...added.filter(({ name }) => !names.has(name))];
}

/**
 * The model of that name, bundled or in `modelsDir`, its files checked against their checksums.
 * Throws MODEL_INVALID when there is none, with the names that there are.
 */
export async function openModel(modelsDir: string, name: string): Promise<Model> {
  const entries = await listModels(modelsDir);
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry !== undefined) return loadModel(entry.folder);
  throw new TidemarkError(
    'MODEL_INVALID',
    `there is no model ${excerpt(name)}, expected one of ${entries.map((known) => known.name).join(', ')}`,
  );
}

/**
 * Takes a model from a folder as Hugging Face and sentence-transformers lay them out, and makes
 * `modelsDir/name` of it. The model is loaded and run once before it gets its name.
 * Throws MODEL_INVALID when the folder lacks something, the graph cannot be run, or there is a
 * model of that name.
 */
export async function addModel(modelsDir: string, folder: string, name: string): Promise<Model> {
  return installModel(modelsDir, name, (target) => importModel(folder, target, name));
}

/**
 * Makes `modelsDir/name` whole or not at all: `build` fills an empty folder beside it (the
 * manifest last), the model in it is loaded and run, and then the folder is renamed.
 */
export async function installModel(
  modelsDir: string,
  name: string,
  build: (folder: string) => Promise<void>,
): Promise<Model> {
  if (!MODEL_NAME.test(name)) {
    throw new TidemarkError(
      'MODEL_INVALID',
      `the model's name is ${JSON.stringify(name)}, expected lower-case letters, digits, ".", "_" and "-"`,
    );
  }
  const folder = join(modelsDir, name);
  if ((await exists(folder)) || (await exists(join(BUNDLED_DIR, name)))) throw taken(name);
  await mkdir(modelsDir, { recursive: true });
  // A leading dot keeps half a model out of every list, also after a crash.
  const temporary = await mkdtemp(join(modelsDir, `.${name}-`));
  try {
    // mkdtemp makes it ours alone; the model is for whoever may read the folder above.
    await chmod(temporary, 0o755);
    await build(temporary);
    const model = await loadModel(temporary);
    const backend = await OnnxBackend.start(model);
    await backend.close();
    await rename(temporary, folder).catch((error: unknown) => {
      throw taken(name, error);
    });
    return { ...model, folder };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function listFolder(folder: string, bundled: boolean): Promise<ModelEntry[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  });
  const names = entries
    .filter((entry) => !entry.isFile() && MODEL_NAME.test(entry.name))
    .map((entry) => entry.name)
    .toSorted();
  const found: ModelEntry[] = [];
  for (const name of names) {
    const path = join(folder, name);
    if (!(await exists(join(path, MANIFEST_FILE)))) continue;
    const model = await readModel(path).catch((error: unknown) => ({ problem: messageOf(error) }));
    found.push({ name, folder: path, bundled, model });
  }
  return found;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function taken(name: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'MODEL_INVALID',
    `there is a model ${JSON.stringify(name)} already, expected a name that is free`,
    { cause },
  );
}
