import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { ServerProcess } from './server.ts';
import { tempDirectory } from './temp.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGES = join(ROOT, 'docs/training');
const RUN_PAGES = join(ROOT, 'test/e2e/trainers/run_pages.py');

/** The pages show exports of several parts, of a few rows. */
const PART_ROWS = 2;

/** A server, and the folder that it was started in, to work in with `tidemark` on the path. */
export class Workplace {
  readonly server: ServerProcess;
  readonly folder: string;
  private bin = tempDirectory();

  private constructor(server: ServerProcess, folder: string) {
    this.server = server;
    this.folder = folder;
    const command = join(this.bin, 'tidemark');
    const main = join(ROOT, 'src/cli/main.ts');
    writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
    chmodSync(command, 0o755);
    copyFileSync(
      join(ROOT, 'examples/pytorch_ref_dataset.py'),
      join(this.folder, 'pytorch_ref_dataset.py'),
    );
  }

  /** With a server that makes parts of so many rows. */
  static async start(partRows = PART_ROWS): Promise<Workplace> {
    return Workplace.serving(JSON.stringify({ exports: { part_rows: partRows, threads: 1 } }), []);
  }

  /** With a server of these settings, and of these words after `serve`. */
  static async serving(settings: string, words: readonly string[]): Promise<Workplace> {
    const [data, folder] = [tempDirectory(), tempDirectory()];
    const config = join(data, 'tidemark.yaml');
    writeFileSync(config, settings);
    const args = ['--config', config, ...words];
    return new Workplace(await ServerProcess.start(join(data, 'store'), args, folder), folder);
  }

  /** Runs a program there; resolves to what it prints. */
  async run(program: string, args: readonly string[]): Promise<string> {
    const path = `${this.bin}${delimiter}${process.env.PATH}`;
    const { stdout } = await promisify(execFile)(program, args, {
      cwd: this.folder,
      env: { ...process.env, PATH: path, TIDEMARK_URL: this.server.url },
    });
    return stdout;
  }
}

export function pagePath(page: string): string {
  return join(PAGES, page);
}

/** Runs the code of pages of the docs; how many sections of each made the data that they are to make. */
export async function runPages(
  place: Workplace,
  python: string,
  pages: readonly string[],
): Promise<unknown> {
  return JSON.parse(await place.run(python, [RUN_PAGES, ...pages.map(pagePath)]));
}
