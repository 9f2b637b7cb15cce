import { chmod, copyFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import {
  adviceFor,
  CUDA_PROVIDER,
  missingLibraries,
  providerProblem,
  runtimeFolder,
  runtimeVersion,
} from './cuda-libraries.ts';
import { sha256File } from './model.ts';
import { failedFetch, fetchPackage } from './pip.ts';

export interface CudaInstallSettings {
  onProgress: (step: string) => void;
  /** The Python that has pip. */
  python: string;
  /** Where the libraries go. Default: where ONNX Runtime looks for them. */
  folder?: string;
}

/** What there is after an installation. */
export interface CudaInstalled {
  folder: string;
  version: string;
  /** Libraries of CUDA and of the driver that the loader does not find here. */
  missing: string[];
  /** What to do about them. */
  advice?: string;
}

/**
 * Fetches ONNX Runtime's provider for CUDA through pip and puts its libraries beside the runtime,
 * each whole or not at all. Those that are there and right are left as they are.
 * Throws BAD_CONFIG where there are none for this machine or this runtime, MODEL_INVALID when the
 * download fails or brings something else than is expected.
 */
export async function installCuda({
  onProgress,
  python,
  folder = runtimeFolder(),
}: CudaInstallSettings): Promise<CudaInstalled> {
  const { version, requirement } = CUDA_PROVIDER;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new TidemarkError(
      'BAD_CONFIG',
      `this machine is ${process.platform} on ${process.arch}, expected linux on x64: there is no other provider for CUDA`,
    );
  }
  const runtime = await runtimeVersion();
  if (runtime !== version) {
    throw new TidemarkError(
      'BAD_CONFIG',
      `onnxruntime-node is ${runtime}, expected ${version}: the provider works with its own version alone`,
    );
  }
  if ((await providerProblem(folder)) === undefined) {
    onProgress(`the provider of ONNX Runtime ${version} is there already, and whole`);
  } else {
    onProgress(`downloading ${requirement} with pip (200 MB)`);
    await fetchInto(folder, python);
    onProgress(`the provider of ONNX Runtime ${version} is in ${folder}`);
  }
  const missing = missingLibraries(folder);
  return { folder, version, missing, ...(missing.length > 0 && { advice: adviceFor(missing) }) };
}

async function fetchInto(folder: string, python: string): Promise<void> {
  const { requirement, platform, wheel: expected, files } = CUDA_PROVIDER;
  const temporary = await mkdtemp(join(tmpdir(), 'tidemark-cuda-'));
  try {
    const fetched = await fetchPackage(python, requirement, temporary, platform);
    const got = await sha256File(fetched.wheel);
    if (got !== expected) {
      throw failedFetch(`${basename(fetched.wheel)} has SHA-256 ${got}, expected ${expected}`);
    }
    for (const [file, sha256] of Object.entries(files)) {
      const from = join(fetched.files, CUDA_PROVIDER.folder, file);
      // On the same disk, so that a rename puts it there whole.
      const beside = join(folder, `.${file}-${process.pid}`);
      try {
        await copyFile(from, beside);
        await chmod(beside, 0o755);
        const copied = await sha256File(beside);
        if (copied !== sha256) {
          throw failedFetch(`${file} has SHA-256 ${copied}, expected ${sha256}`);
        }
        await rename(beside, join(folder, file));
      } finally {
        await rm(beside, { force: true });
      }
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
