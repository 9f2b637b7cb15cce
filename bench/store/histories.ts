import { join } from 'node:path';

import { batches, openJobs } from '../harness/jobs.ts';

/** Entities of the view `job` with as many revisions each, a second apart from the epoch on. */
export interface History {
  entities: number;
  revisions: number;
  dim: number;
}

/** What a process that looks up is given. */
export interface LookupPeer {
  /** A data directory with the history. */
  directory: string;
  history: History;
  /** Of one lookup. */
  ids: number;
  residentBytes: number;
}

const BATCH = 5_000;

export function entityId(entity: number): string {
  return `job-${entity}`;
}

/** The file that has the history. */
export function dataFile(directory: string): string {
  return join(directory, 'views/job/v1/data.mdb');
}

/** Makes a data directory: one revision of every entity after the other. */
export async function makeHistory(
  directory: string,
  { entities, revisions, dim }: History,
): Promise<void> {
  const store = openJobs(directory, dim);
  const idOf = (at: number) => entityId(at % entities);
  let committed: Promise<unknown> = Promise.resolve();
  for (const rows of batches(entities * revisions, BATCH, dim, idOf)) {
    // A batch is put together while the one before is on its way to the disk.
    await committed;
    committed = store.commit('job', 'v1', { rows });
  }
  await committed;
  await store.close();
}
