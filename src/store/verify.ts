import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { TidemarkError } from '../ground/errors.ts';
import { Catalogue, type FeatureView, type ModelVersion } from './catalogue.ts';
import type { Dtype } from './dtype.ts';
import { DATA_FILE } from './environment.ts';
import { checkDirectory } from './format.ts';
import { lockDirectory } from './lock.ts';
import { type Checked, type Problem, verifyFiles } from './verify-files.ts';
import { VersionFiles } from './version-files.ts';

export interface Verification {
  problems: Problem[];
  checked: Checked & { versions: number };
  /** False while another process writes: totals move, and were not compared. */
  counters: boolean;
}

/** Further problems are likely more of the same. */
const PROBLEMS_MAX = 1_000;

/**
 * Checks every checksum, order, reference and counter of a data directory; changes nothing, and
 * may run beside a server. `onProgress` hears of each thousandth thing checked.
 * Throws STORE_FORMAT where there is no data directory of this format.
 */
export async function verifyStore(
  directory: string,
  onProgress: (done: { view: string; version: string; checked: number }) => void = () => {},
): Promise<Verification> {
  checkDirectory(directory);
  const lock = tryLock(directory);
  const catalogue = new Catalogue(directory);
  const result: Verification = {
    problems: [],
    checked: { versions: 0, chunks: 0, revisions: 0, vectors: 0, inputs: 0, changes: 0 },
    counters: lock !== undefined,
  };
  try {
    for (const view of catalogue.views()) {
      for (const version of Object.values(view.versions)) {
        await verifyVersion(catalogue, view, version, result, (checked) =>
          onProgress({ view: view.name, version: version.version, checked }),
        );
      }
    }
  } finally {
    await catalogue.close();
    lock?.release();
  }
  return result;
}

async function verifyVersion(
  catalogue: Catalogue,
  view: FeatureView,
  { version, dim, dtype }: ModelVersion,
  { problems, checked, counters }: Verification,
  onProgress: (checked: number) => void,
): Promise<void> {
  const { number } = catalogue.generation(view.name, version);
  const folder = catalogue.folder(view.name, version, number);
  const name = `${view.name}@${version}`;
  if (!existsSync(join(folder, DATA_FILE))) {
    problems.push({ where: name, what: `there is no ${DATA_FILE} in its folder ${folder}` });
    return;
  }
  const files = open(folder, dim, dtype);
  if (files instanceof TidemarkError) {
    problems.push({ where: name, what: files.message });
    return;
  }
  const erased = catalogue.erasures().of(view.entity, view.name, () => false);
  try {
    const done = await verifyFiles(
      files,
      (where, what) => {
        if (problems.length < PROBLEMS_MAX) problems.push({ where: `${name}: ${where}`, what });
      },
      {
        seqReserved: catalogue.seqReserved(),
        isMoving: !counters,
        // What waits for its removal may be there still.
        isErased:
          erased.none || files.erasedUpTo() < catalogue.lastErasure()
            ? undefined
            : (id) => erased.has(id),
        onProgress,
      },
    );
    for (const [what, count] of Object.entries(done)) checked[what as keyof Checked] += count;
    checked.versions++;
  } finally {
    await files.close();
  }
}

function open(folder: string, dim: number, dtype: Dtype): VersionFiles | TidemarkError {
  try {
    return new VersionFiles(folder, dim, dtype);
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
}

function tryLock(directory: string): { release(): void } | undefined {
  try {
    return lockDirectory(directory);
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'STORE_LOCKED') return undefined;
    throw error;
  }
}
