import { readdir, readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import {
  adviceFor,
  missingLibraries,
  providerProblem,
  runtimeFolder,
  runtimeVersion,
} from './cuda-libraries.ts';
import { messageOf } from './failure.ts';
import { openModel } from './models.ts';
import { openSession, type Provider } from './session.ts';

/** What runs the models of this process. */
export interface ProviderInfo {
  provider: Provider;
  /** The processor or the card, in its maker's words. */
  device: string;
  /** The library and its version. */
  runtime: string;
}

/** The driver says here what cards there are. */
const CARDS = '/proc/driver/nvidia/gpus';

/**
 * Finds out whether the provider can be had here, by loading a graph with it once.
 * Throws BAD_CONFIG with what is missing and what to install: a server that was told to use a card
 * must not be slow for want of it, and say nothing.
 */
export async function probeProvider(provider: Provider): Promise<ProviderInfo> {
  const runtime = `onnxruntime-node ${await runtimeVersion()}`;
  if (provider === 'cpu')
    return { provider, device: cpus()[0]?.model.trim() || process.arch, runtime };
  const folder = runtimeFolder();
  const problem = await providerProblem(folder);
  if (problem !== undefined) {
    throw absent(`${problem}; install it with "tidemark model cuda"`);
  }
  try {
    // Any graph will do: the bundled one is there.
    const { folder: model, manifest } = await openModel(folder, 'hashing');
    const session = await openSession(join(model, manifest.graph), { threads: 1, provider });
    await session.release();
  } catch (error) {
    const missing = missingLibraries(folder);
    throw absent(missing.length > 0 ? adviceFor(missing) : messageOf(error), error);
  }
  return { provider, device: await cardName(), runtime };
}

async function cardName(): Promise<string> {
  const cards: string[] = await readdir(CARDS).catch(() => []);
  const [first] = cards.toSorted();
  if (first === undefined) return 'NVIDIA';
  const text = await readFile(join(CARDS, first, 'information'), 'utf8').catch(() => '');
  return /^Model:\s*(.+)$/m.exec(text)?.[1] ?? 'NVIDIA';
}

function absent(why: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'BAD_CONFIG',
    `configuration: inference.provider: got "cuda", which cannot be had here: ${why}`,
    { cause },
  );
}
