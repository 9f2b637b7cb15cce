import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for what a run makes, in the folder for temporary files: removed however the run ends. */
export async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    await work(folder);
  } finally {
    remove();
    process.off('exit', remove);
  }
}

// Who breaks it off leaves nothing behind either.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
