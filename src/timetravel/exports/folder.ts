import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { makeFolder } from '../../store/folders.ts';
import { describeFile } from '../../store/manifest.ts';
import { readIfThere, replaceFile } from '../../store/state-file.ts';
import type { AnswerFormat } from '../formats/answer.ts';
import type { JoinPlan } from '../join/plan.ts';
import { decodeIds, idsPathOf } from '../join/shard-ids.ts';
import type { WindowDone, WrittenFile } from '../join/window-done.ts';
import { type ExportFile, filesOf } from './files.ts';
import type { Manifest } from './manifest.ts';
import { PARTS, VECTORS } from './paths.ts';
import {
  encodeCounts,
  encodeRecord,
  type ExportRecord,
  parseCounts,
  parseRecord,
} from './record.ts';

const RECORD_FILE = 'export.json';
const MANIFEST_FILE = 'manifest.json';
const WINDOWS_FILE = 'windows.ndjson';
const SPINE_FILE = 'spine';
const UNFINISHED = '.tmp';

/**
 * The folder of one export:
 *
 *   export.json       what it is, and what has become of it; without it the folder is nobody's
 *   spine             the rows that were sent, until it ends
 *   windows.ndjson    a line for each window whose files are written, until it ends
 *   parts/            the answer, window after window
 *   vectors/          of vectors=ref: each distinct vector once
 *   manifest.json     written last: the files are all there
 */
export class ExportFolder {
  readonly path: string;

  constructor(root: string, id: string) {
    this.path = join(root, id);
  }

  make(): void {
    for (const name of [PARTS, VECTORS]) makeFolder(join(this.path, name));
  }

  get spine(): string {
    return join(this.path, SPINE_FILE);
  }

  /** The path of one of the export's files, as its manifest names it. */
  file(path: string): string {
    return join(this.path, path);
  }

  /** Undefined where the folder was left before its export was taken in. Throws STORE_CORRUPT. */
  async readRecord(): Promise<ExportRecord | undefined> {
    const path = this.file(RECORD_FILE);
    const text = await readIfThere(path);
    return text === undefined ? undefined : parseRecord(text, path);
  }

  /** Durable when it resolves. */
  async writeRecord(record: ExportRecord): Promise<void> {
    await replaceFile(this.file(RECORD_FILE), encodeRecord(record), true);
  }

  async readManifest(): Promise<Manifest | undefined> {
    const text = await readIfThere(this.file(MANIFEST_FILE));
    return text === undefined ? undefined : (JSON.parse(text) as Manifest);
  }

  async writeManifest(manifest: Manifest): Promise<void> {
    await replaceFile(
      this.file(MANIFEST_FILE),
      `${JSON.stringify(manifest, undefined, 2)}\n`,
      true,
    );
  }

  /** Notes a window whose files are written: from then on a crash does not lose them. */
  async addWindow(window: WindowDone): Promise<void> {
    await this.writeWindows([window], 'a');
  }

  /**
   * The windows that are done, in their order, as far as all of their files are as they were
   * written: nothing was flushed, and a power loss may have taken any of it. What else a crash left
   * is gone then.
   */
  async recoverWindows(
    plan: JoinPlan,
    shards: AnswerFormat,
    signal: AbortSignal,
  ): Promise<WindowDone[]> {
    const text = (await readIfThere(this.file(WINDOWS_FILE))) ?? '';
    const windows: WindowDone[] = [];
    for (const line of text.split('\n').slice(0, -1)) {
      const window = parseWindow(line);
      const files = window === undefined ? [] : filesOf(window, plan, shards);
      const isWhole = window?.index === windows.length && (await this.areWhole(files, signal));
      if (!isWhole) break;
      windows.push(window);
    }
    for (const folder of [PARTS, VECTORS]) {
      for (const name of await readdir(this.file(folder))) {
        if (name.endsWith(UNFINISHED)) await rm(join(this.file(folder), name));
      }
    }
    await this.writeWindows(windows, 'w');
    return windows;
  }

  private async areWhole(files: readonly ExportFile[], signal: AbortSignal): Promise<boolean> {
    for (const { path, bytes, sha256, feature_view, rows } of files) {
      if (!existsSync(this.file(path))) return false;
      const found = await describeFile(this.path, path, signal);
      if (found.bytes !== bytes || found.sha256 !== sha256) return false;
      if (feature_view === undefined) continue;
      const ids = await readFile(this.file(idsPathOf(path))).catch(() => undefined);
      if (ids === undefined || decodeIds(ids, rows) === undefined) return false;
    }
    return true;
  }

  private async writeWindows(windows: readonly WindowDone[], flag: 'a' | 'w'): Promise<void> {
    const lines = windows.map(
      (window) => `${JSON.stringify({ ...window, counts: window.counts.map(encodeCounts) })}\n`,
    );
    await writeFile(this.file(WINDOWS_FILE), lines.join(''), { flag });
  }

  /** Removes what was of use while the export ran. */
  async removeScaffold(): Promise<void> {
    for (const name of await readdir(this.file(VECTORS))) {
      if (name.endsWith('.ids')) await rm(join(this.file(VECTORS), name));
    }
    await rm(this.file(WINDOWS_FILE), { force: true });
    await rm(this.spine, { force: true });
  }

  /** Removes everything but what tells of the export. */
  async removeFiles(): Promise<void> {
    for (const name of [MANIFEST_FILE, WINDOWS_FILE, SPINE_FILE, PARTS, VECTORS]) {
      await rm(this.file(name), { recursive: true, force: true });
    }
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** JSON has null for what is not there in an array. */
interface StoredWindow extends Omit<WindowDone, 'shards'> {
  shards?: (WrittenFile | null)[];
}

/** Undefined for a line that a crash has cut or spoilt. */
function parseWindow(line: string): WindowDone | undefined {
  try {
    const { shards, ...window } = JSON.parse(line) as StoredWindow;
    return {
      ...window,
      counts: window.counts.map(parseCounts),
      ...(shards !== undefined && { shards: shards.map((shard) => shard ?? undefined) }),
    };
  } catch {
    return undefined;
  }
}
