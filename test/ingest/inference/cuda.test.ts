import { existsSync } from 'node:fs';
import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { configSchema } from '../../../src/config.ts';
import { installCuda } from '../../../src/ingest/inference/cuda-install.ts';
import {
  adviceFor,
  CUDA_PROVIDER,
  missingLibraries,
  providerProblem,
  runtimeFolder,
  runtimeVersion,
} from '../../../src/ingest/inference/cuda-libraries.ts';
import { probeProvider } from '../../../src/ingest/inference/provider.ts';
import { startTidemark } from '../../../src/main.ts';
import { tempDirectory } from '../../support/temp.ts';

const hasGpu = existsSync('/dev/nvidia0');

test('the provider that is fetched is that of the runtime, and both versions move together', async () => {
  expect(await runtimeVersion()).toBe(CUDA_PROVIDER.version);
  expect(await readdir(runtimeFolder())).toContain('onnxruntime_binding.node');
});

test('a processor is always there, and named', async () => {
  expect(await probeProvider('cpu')).toEqual({
    provider: 'cpu',
    device: expect.stringMatching(/./),
    runtime: `onnxruntime-node ${CUDA_PROVIDER.version}`,
  });
});

test.skipIf(hasGpu)(
  'a server that is to run models on a card is not started where there is none, before a model is in use',
  async () => {
    const data = join(tempDirectory(), 'data');
    const settings = configSchema.parse({ data, port: 0, inference: { provider: 'cuda' } });
    await expect(startTidemark({ ...settings, models: data })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringMatching(
        /^configuration: inference\.provider: got "cuda", which cannot be had here: /,
      ),
    });
    expect(existsSync(data)).toBe(false);
  },
);

test('libraries that are missing are named with the packages that bring them', () => {
  expect(adviceFor(['libcublasLt.so.13', 'libcublas.so.13', 'libcudart.so.13'])).toMatch(
    /libcublasLt\.so\.13, .*pip install nvidia-cublas==13\.\* nvidia-cuda-runtime==13\.\*".*LD_LIBRARY_PATH/,
  );
  expect(adviceFor(['libcuda.so.1'])).toBe(
    'the loader does not find libcuda.so.1; libcuda.so.1 comes with the driver of the NVIDIA card',
  );
});

test('files of another version are not taken for the provider', async () => {
  const folder = tempDirectory();
  expect(await providerProblem(folder)).toMatch(/libonnxruntime_providers_shared\.so is missing$/);
  for (const file of Object.keys(CUDA_PROVIDER.files)) await writeFile(join(folder, file), 'old');
  expect(await providerProblem(folder)).toMatch(/shared\.so is not that of ONNX Runtime 1\.29\.0$/);
  expect(missingLibraries(folder)).toEqual([]);
});

test('a download that is not the one that is expected leaves nothing behind', async () => {
  const [folder, tools] = [tempDirectory(), tempDirectory()];
  // Stands in for Python: pip writes some wheel, and zipfile unpacks it.
  const python = join(tools, 'python');
  const script = `#!/bin/sh
if [ "$2" = pip ]; then
  while [ "$1" != --dest ]; do shift; done
  echo wheel > "$2/onnxruntime_gpu.whl"
else mkdir "$5"; fi
`;
  await writeFile(python, script);
  await chmod(python, 0o755);
  const said: string[] = [];
  const onProgress = (step: string): void => void said.push(step);
  await expect(installCuda({ python, folder, onProgress })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringMatching(
      /onnxruntime_gpu\.whl has SHA-256 [0-9a-f]{64}, expected de3caf/,
    ),
  });
  expect(await readdir(folder)).toEqual([]);
  expect(said).toEqual(['downloading onnxruntime-gpu==1.29.0 with pip (200 MB)']);
});
