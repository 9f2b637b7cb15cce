import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const ENVIRONMENTS = resolve(import.meta.dirname, '../.cache/python');

/**
 * The python of a virtual environment that has the packages (`name==version`), made on first use
 * and kept in `.cache/python`, one for each set. Run what is in it as `python -m module`: the
 * environment is moved once it is whole, so its scripts name a folder that is gone.
 *
 * Two test files that ask at once may both build; the first to finish gives it its name, and the
 * other uses that one.
 */
export async function pythonWith(packages: readonly string[]): Promise<string> {
  const wanted = packages.toSorted();
  const digest = createHash('sha256').update(wanted.join('\n')).digest('hex').slice(0, 16);
  const folder = join(ENVIRONMENTS, digest);
  const python = join(folder, 'bin', 'python');
  if (existsSync(python)) return python;
  await mkdir(ENVIRONMENTS, { recursive: true });
  const temporary = await mkdtemp(join(ENVIRONMENTS, `.${digest}-`));
  try {
    await runPython('python3', ['-m', 'venv', temporary]);
    const install = ['-m', 'pip', '--disable-pip-version-check', 'install', '--quiet', ...wanted];
    await runPython(join(temporary, 'bin', 'python'), install);
    await rename(temporary, folder).catch((error: unknown) => {
      if (!existsSync(python)) throw error;
    });
    return python;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Runs python to its end with `input` on its standard input; resolves to what it prints. */
export async function runPython(
  python: string,
  args: readonly string[],
  input = '',
): Promise<string> {
  const child = spawn(python, args, { stdio: 'pipe' });
  const printed: Buffer[] = [];
  const complained: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => printed.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => complained.push(chunk));
  const ended = Promise.withResolvers<number | null>();
  child.on('error', ended.reject);
  child.on('close', ended.resolve);
  // A child that ends without reading all says why on stderr; the broken pipe says nothing more.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await ended.promise;
  if (code !== 0) {
    const reason = Buffer.concat(complained).toString().trim();
    throw new Error(`${python} ${args.slice(0, 3).join(' ')} ended with ${code}: ${reason}`);
  }
  return Buffer.concat(printed).toString();
}
