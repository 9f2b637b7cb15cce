import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import { CHANGES_FORMAT_MAX, type Frame } from '../../store/change-frames.ts';
import type { Lake, LakeSummary } from './lake.ts';

/** How far an export is. */
export interface LakeProgress {
  /** Seqs: those that were read, and those that there were at its begin. */
  upTo: number;
  goal: number;
  revisions: number;
}

/**
 * Adds to a table what a server tells of the changes after those that it has. Throws what `Lake`
 * throws, and the server's own error.
 */
export async function exportChanges(
  lake: Lake,
  frames: AsyncIterable<Frame>,
  onProgress: (progress: LakeProgress) => void,
): Promise<LakeSummary> {
  let goal = Number.POSITIVE_INFINITY;
  let upTo = lake.summary.after;
  for await (const frame of frames) {
    switch (frame.type) {
      case 'hello':
        requireFormat(frame.format);
        await lake.meet(frame);
        goal = frame.snapshot;
        break;
      case 'event':
        lake.learn(frame.event);
        break;
      case 'changes':
        lake.add(frame);
        break;
      case 'watermark':
        upTo = frame.up_to;
        await lake.reach(upTo);
        onProgress({ upTo, goal, revisions: lake.summary.revisions });
        break;
      case 'error':
        throw new TidemarkError(frame.code as ErrorCode, frame.detail);
    }
  }
  if (upTo < goal) {
    throw new TidemarkError(
      'SHUTTING_DOWN',
      `the server ended at the change ${upTo} of ${goal}: export again, and it goes on where it was`,
    );
  }
  return lake.finish();
}

function requireFormat(format: number): void {
  if (format <= CHANGES_FORMAT_MAX) return;
  throw new TidemarkError(
    'STORE_FORMAT',
    `the server tells its changes in the format ${format}, expected up to ${CHANGES_FORMAT_MAX}: use the tidemark of the server`,
  );
}
