import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { tempDirectory } from '../support/temp.ts';

const ROOT = join(import.meta.dirname, '../..');

function npm(folder: string, ...args: string[]): string {
  return execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    encoding: 'utf8',
  });
}

test('the package that is packed installs elsewhere, and its command runs the demo', () => {
  const folder = tempDirectory();
  npm(ROOT, 'pack', '--pack-destination', folder);
  const [packed] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  npm(folder, 'install', '--prefer-offline', join(folder, packed!));
  const command = join(folder, 'node_modules/tidemark/dist/cli/main.js');
  const run = (...args: string[]) =>
    execFileSync(process.execPath, [command, ...args], { cwd: folder, encoding: 'utf8' });
  expect(run('--version').trim()).toBe(JSON.parse(npm(ROOT, 'pkg', 'get', 'version')));
  expect(run('demo')).toContain('LEAK');
  const asked = "console.log(Object.keys(await import('tidemark/client')).toSorted().join())";
  const names = execFileSync(process.execPath, ['--input-type=module', '-e', asked], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(names.trim()).toBe('TidemarkClient,TidemarkRefused,TidemarkUnreachable');
});
