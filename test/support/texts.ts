import { hashInput } from '../../src/ingest/model-input.ts';
import { DELETED, RevisionBatch } from '../../src/store/batch.ts';
import type { FeatureView } from '../../src/store/catalogue.ts';
import { packText } from '../../src/store/texts.ts';
import type { VersionStore } from '../../src/store/version-store.ts';
import { viewOf } from './store.ts';

/** A view whose one version, of dim 2, keeps the texts of its inputs. */
export function keepingView(name = 'job'): FeatureView {
  const view = viewOf(name);
  view.versions['v1']!.model = { name: 'letters', fingerprint: 'f', keep_inputs: true };
  return view;
}

export interface TextRow {
  id: string;
  event: number;
  /** Null for a delete. */
  text: string | null;
}

/** A vector as of a model that reads four letters. */
export function vectorOf(text: string): [number, number] {
  const read = text.slice(0, 4).padEnd(4);
  return [
    read.charCodeAt(0) * 256 + read.charCodeAt(1),
    read.charCodeAt(2) * 256 + read.charCodeAt(3),
  ];
}

/** Rows as a pipeline would bring them: with the texts of their inputs. */
export function textsOf(rows: readonly TextRow[]): RevisionBatch {
  const batch = new RevisionBatch(8, rows.length);
  for (const { id, event, text } of rows) {
    let payload = DELETED;
    if (text !== null) {
      batch.nextPayload().set(new Uint8Array(new Float32Array(vectorOf(text)).buffer));
      payload = batch.addFilled(hashInput(text), packText(hashInput(text), text));
    }
    batch.addRow(id, event, event, payload);
  }
  return batch;
}

/** The text of every revision of an entity, in the order in which they were stored. */
export function textsIn({ log, texts }: VersionStore, id: string): (string | undefined)[] {
  const changes = log.read(0, Number.MAX_SAFE_INTEGER, 100_000);
  return changes
    .filter(({ entityId }) => entityId === id)
    .map(({ vectorId }) => texts!.get(vectorId)?.text);
}
