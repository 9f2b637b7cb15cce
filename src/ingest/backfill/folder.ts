import { appendFile, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isSystemError } from '../../ground/system-error.ts';
import { makeFolder } from '../../store/folders.ts';
import { type BackfillRecord, encodeRecord, parseRecord, type RejectedEvent } from './record.ts';

const RECORD_FILE = 'backfill.json';
const ENTITIES_FILE = 'entities.json';
const REJECTED_FILE = 'rejected.ndjson';

/**
 * The folder of one backfill:
 *
 *   backfill.json       what it is, and what has become of it; without it the folder is nobody's
 *   entities.json       the entities that it is limited to, until it ends
 *   rejected.ndjson     the events that cannot become revisions: their places, and why
 */
export class BackfillFolder {
  readonly path: string;

  constructor(root: string, id: string) {
    this.path = join(root, id);
  }

  get rejectedFile(): string {
    return join(this.path, REJECTED_FILE);
  }

  make(): void {
    makeFolder(this.path);
  }

  /** Undefined where the folder was left before its backfill was taken in. Throws STORE_CORRUPT. */
  async readRecord(): Promise<BackfillRecord | undefined> {
    const path = join(this.path, RECORD_FILE);
    const text = await readIfThere(path);
    return text === undefined ? undefined : parseRecord(text, path);
  }

  /** Durable when it resolves. */
  async writeRecord(record: BackfillRecord): Promise<void> {
    await this.replace(RECORD_FILE, encodeRecord(record), true);
  }

  /** The same of progress, of which a power loss may take the last. */
  async noteProgress(record: BackfillRecord): Promise<void> {
    await this.replace(RECORD_FILE, encodeRecord(record), false);
  }

  async readEntities(): Promise<Set<string> | undefined> {
    const text = await readIfThere(join(this.path, ENTITIES_FILE));
    return text === undefined ? undefined : new Set(JSON.parse(text) as string[]);
  }

  async writeEntities(ids: readonly string[]): Promise<void> {
    await this.replace(ENTITIES_FILE, JSON.stringify(ids), true);
  }

  async addRejected(events: readonly RejectedEvent[]): Promise<void> {
    const lines = events.map((event) => `${JSON.stringify(event)}\n`);
    await appendFile(this.rejectedFile, lines.join(''));
  }

  /** Keeps those that `isKept`: what a crash left of events that are read again goes. Gives them. */
  async recoverRejected(isKept: (event: RejectedEvent) => boolean): Promise<RejectedEvent[]> {
    const text = (await readIfThere(this.rejectedFile)) ?? '';
    const kept = text
      .split('\n')
      // The last line may be cut.
      .slice(0, -1)
      .map((line) => JSON.parse(line) as RejectedEvent)
      .filter(isKept);
    await writeFile(this.rejectedFile, kept.map((event) => `${JSON.stringify(event)}\n`).join(''));
    return kept;
  }

  /** Removes what it has no use of once it has ended: ids are not kept longer than they serve. */
  async clear(): Promise<void> {
    await rm(join(this.path, ENTITIES_FILE), { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  private async replace(name: string, text: string, flush: boolean): Promise<void> {
    const fresh = join(this.path, `${name}.new`);
    await writeFile(fresh, text, { flush });
    await rename(fresh, join(this.path, name));
    if (!flush) return;
    await using folder = await open(this.path, 'r');
    await folder.sync();
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
