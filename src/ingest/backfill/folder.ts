import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { makeFolder } from '../../store/folders.ts';
import { readIfThere, replaceFile } from '../../store/state-file.ts';
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

  private get recordFile(): string {
    return join(this.path, RECORD_FILE);
  }

  private get entitiesFile(): string {
    return join(this.path, ENTITIES_FILE);
  }

  get rejectedFile(): string {
    return join(this.path, REJECTED_FILE);
  }

  make(): void {
    makeFolder(this.path);
  }

  /** Undefined where the folder was left before its backfill was taken in. Throws STORE_CORRUPT. */
  async readRecord(): Promise<BackfillRecord | undefined> {
    const text = await readIfThere(this.recordFile);
    return text === undefined ? undefined : parseRecord(text, this.recordFile);
  }

  /** Durable when it resolves. */
  async writeRecord(record: BackfillRecord): Promise<void> {
    await replaceFile(this.recordFile, encodeRecord(record), true);
  }

  /** The same of progress, of which a power loss may take the last. */
  async noteProgress(record: BackfillRecord): Promise<void> {
    await replaceFile(this.recordFile, encodeRecord(record), false);
  }

  async readEntities(): Promise<Set<string> | undefined> {
    const text = await readIfThere(this.entitiesFile);
    return text === undefined ? undefined : new Set(JSON.parse(text) as string[]);
  }

  async writeEntities(ids: readonly string[]): Promise<void> {
    await replaceFile(this.entitiesFile, JSON.stringify(ids), true);
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
    await rm(this.entitiesFile, { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
