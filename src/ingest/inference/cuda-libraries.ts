import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { sha256File } from './model.ts';

/**
 * What makes ONNX Runtime run on CUDA: two libraries that its npm package does not have, of exactly
 * its own version, from the Python package of it. Beside the runtime is where it looks for them.
 */
export const CUDA_PROVIDER = {
  version: '1.29.0',
  requirement: 'onnxruntime-gpu==1.29.0',
  /** The wheel for one Python, whichever asks for it: the libraries have nothing to do with Python. */
  platform: [
    '--python-version',
    '3.11',
    '--implementation',
    'cp',
    '--abi',
    'cp311',
    '--platform',
    'manylinux_2_28_x86_64',
  ],
  wheel: 'de3caf93887ba4ad51c7d3cab04c7b464f9dd93c51047be5bfb413fd4a191e6a',
  folder: 'onnxruntime/capi',
  files: {
    'libonnxruntime_providers_shared.so':
      '086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d',
    'libonnxruntime_providers_cuda.so':
      '5feb727767b15d369ccd33a89b6509fbb41f0ff19353e8f61e3d545ec6b3025b',
  },
} as const;

/** The Python packages that bring the libraries of CUDA that the provider loads. */
const BROUGHT_BY: Record<string, string> = {
  libcublas: 'nvidia-cublas==13.*',
  libcublasLt: 'nvidia-cublas==13.*',
  libcudart: 'nvidia-cuda-runtime==13.*',
  libcurand: 'nvidia-curand==10.*',
};

/** Where ONNX Runtime looks for its providers. */
export function runtimeFolder(): string {
  const manifest = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return join(dirname(manifest), 'bin', 'napi-v6', process.platform, process.arch);
}

export async function runtimeVersion(): Promise<string> {
  const manifest = join(runtimeFolder(), '../../../../package.json');
  return String(JSON.parse(await readFile(manifest, 'utf8')).version);
}

/** What is wrong with the provider's own files in a folder; undefined where nothing is. */
export async function providerProblem(folder: string): Promise<string | undefined> {
  for (const [file, expected] of Object.entries(CUDA_PROVIDER.files)) {
    const path = join(folder, file);
    if (!existsSync(path)) return `${path} is missing`;
    if ((await sha256File(path)) !== expected) {
      return `${path} is not that of ONNX Runtime ${CUDA_PROVIDER.version}`;
    }
  }
  return undefined;
}

/** The libraries that the provider in a folder needs and the loader does not find. */
export function missingLibraries(folder: string): string[] {
  const path = join(folder, 'libonnxruntime_providers_cuda.so');
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' });
  return [...(stdout ?? '').matchAll(/^\s*(\S+) => not found$/gm)].map(([, name]) => name!);
}

/** What to do about libraries that are missing, in words. */
export function adviceFor(missing: readonly string[]): string {
  const packages = new Set(missing.flatMap((name) => BROUGHT_BY[name.split('.')[0]!] ?? []));
  const parts = [`the loader does not find ${missing.join(', ')}`];
  if (missing.includes('libcuda.so.1'))
    parts.push('libcuda.so.1 comes with the driver of the NVIDIA card');
  if (packages.size > 0) {
    parts.push(
      `the others come with "pip install ${[...packages].join(' ')}", and are found where LD_LIBRARY_PATH of the ` +
        'server names the folders nvidia/*/lib of that Python’s site-packages',
    );
  }
  return parts.join('; ');
}
