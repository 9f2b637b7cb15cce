import { parentPort } from 'node:worker_threads';

import { TidemarkError } from '../../ground/errors.ts';
import { CheckedBits } from '../../store/checked-bits.ts';
import { openPinned, type PageVersion } from '../../store/pinned-version.ts';
import { resolveMany } from '../lookup.ts';
import { PRESENT } from '../status.ts';
import type { ColdPart } from './prefetch.ts';

const port = parentPort!;
let opened: { wish: number; version: PageVersion } | undefined;

port.on('message', (part: ColdPart) => {
  try {
    read(part);
  } catch (error) {
    // Whoever asks for what is damaged finds it so, and says where.
    if (!(error instanceof TidemarkError)) throw error;
  }
  port.postMessage(undefined);
});

/** Answers, so that every page of the answer is read; what it is, is the lookup's to say. */
function read({ wish, pinned, ids, question }: ColdPart): void {
  if (opened?.wish !== wish) opened = { wish, version: openPinned(pinned) };
  const { version } = opened;
  const { statuses, vectorIds } = resolveMany(version, ids, question);
  const rows = Int32Array.from(statuses.keys()).filter((row) => statuses[row] === PRESENT);
  // What was found whole once may come from the disk another time, and as something else: it is
  // verified here again, and again by the lookup where this finds it damaged.
  const checked = new CheckedBits([...pinned.checked]);
  for (const row of rows) checked.clear(vectorIds[row]!);
  version.vectors.each(vectorIds, rows, () => {});
}
