import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Throws, naming the Debian package to install, where a program is not there. */
export function requireTool(program: string, debianPackage: string): void {
  if (spawnSync('which', [program]).status === 0) return;
  throw new Error(
    `${program} is not installed: apt-get install ${debianPackage} (or what your system calls it)`,
  );
}

/** Of a package that is installed here, such as `ioredis 6.0.0`. */
export function packageText(name: string): string {
  const path = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
  return `${name} ${version}`;
}
