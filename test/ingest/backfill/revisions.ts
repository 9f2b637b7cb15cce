import type { TextRecord } from '../../../src/ingest/entity-texts.ts';
import { RevisionBatch } from '../../../src/store/batch.ts';
import type { Store } from '../../../src/store/store.ts';
import { type Fixture, type Said, SECOND } from './fixture.ts';

/** A revision as a version has it: entity, event and known time in seconds, length of its text. */
export type Held = [id: string, at: number, known: number, length: number | null];

/** Pushes texts to a version, as a live stream does. */
export async function say(
  { store, pipeline }: Pick<Fixture, 'store' | 'pipeline'>,
  version: string,
  said: readonly Said[],
): Promise<void> {
  const model = store.catalogue.mustGetView('job').versions[version]!;
  const rows = new RevisionBatch(8);
  const records = said.map(({ id, at, known = at, text }): TextRecord => {
    const input = text === null ? null : { text };
    return { entityId: id, event: at * SECOND, known: known * SECOND, input };
  });
  const added = await pipeline.addRecords('job', model, rows, records, { lane: 'nearline' });
  for (const [at, each] of added.rows.entries()) {
    if (each instanceof Error) throw each;
    for (const row of each) rows.addRow(said[at]!.id, row.event, row.known, row.payload);
  }
  await store.commit('job', version, { rows }).finally(added.release);
}

/** The revisions of a version in the order of their commits. */
export function held(store: Store, version: string): Held[] {
  const { environment, log, vectors } = store.version('job', version);
  environment.refresh();
  return log
    .read(0, store.snapshot, 1_000_000)
    .map(({ entityId, event, known, vectorId }): Held => {
      const bytes = new Uint8Array(8);
      if (vectorId >= 0) vectors.copyInto(vectorId, bytes, 0);
      const length = vectorId < 0 ? null : new Float32Array(bytes.buffer)[0]!;
      return [entityId, event / SECOND, known / SECOND, length];
    });
}
