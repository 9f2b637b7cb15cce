import { TidemarkError } from '../ground/errors.ts';
import type { RevisionBatch } from '../store/batch.ts';
import type { FeatureView, ModelVersion } from '../store/catalogue.ts';
import type { AddedTexts, SaidRow, TextRecord } from './deps.ts';
import { type PushRows, TEXT, TOMBSTONE } from './push-records.ts';
import type { Context } from './route.ts';

/** What the texts of a push, and deletes of what is put together of them, become in one version. */
interface Made extends Pick<AddedTexts, 'fields' | 'release'> {
  /** By row of the push. */
  rows: Map<number, SaidRow[]>;
}

/**
 * The texts of a push in every version that has a model, one version after another, so that the
 * texts of one fill its batches. What one of them refuses is rejected in all.
 * Throws what no record is to blame for.
 */
export class PushTexts {
  private made = new Map<string, Made>();
  private context: Context;
  private view: FeatureView;
  private rows: PushRows;

  constructor(context: Context, view: FeatureView, rows: PushRows) {
    this.context = context;
    this.view = view;
    this.rows = rows;
  }

  async add(
    targets: readonly { version: ModelVersion; batch: RevisionBatch }[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const refused = new Map<number, TidemarkError>();
    try {
      for (;;) {
        const found = new Map<number, TidemarkError>();
        for (const { version, batch } of targets) {
          await this.addTo(version, batch, refused, found, signal);
        }
        if (found.size === 0) break;
        // What was put together with a refused record is put together without it. Nobody's turn is
        // kept meanwhile: others take theirs in the order of the versions, too.
        this.release();
        this.refuseFirst(found, refused);
      }
    } catch (error) {
      this.release();
      throw error;
    }
    for (const [row, error] of refused) this.rows.reject(this.rows.indexes[row]!, error);
  }

  /** The revisions that a row becomes in a version; undefined where that is not for its model to say. */
  revisionsOf(version: string, row: number): SaidRow[] | undefined {
    return this.made.get(version)?.rows.get(row);
  }

  fieldsOf(version: string): AddedTexts['fields'] {
    return this.made.get(version)?.fields;
  }

  /** To be called when all commits are over. */
  release(): void {
    for (const { release } of this.made.values()) release();
    this.made.clear();
  }

  private async addTo(
    version: ModelVersion,
    batch: RevisionBatch,
    refused: ReadonlyMap<number, TidemarkError>,
    found: Map<number, TidemarkError>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { version: name, model } = version;
    const isPutTogether = model?.prompt?.parts !== undefined;
    const rows = this.rows.kinds.flatMap((kind, row) =>
      (kind === TEXT || (kind === TOMBSTONE && isPutTogether)) && !refused.has(row) ? [row] : [],
    );
    if (rows.length === 0) return;
    const records = rows.map((row) => this.recordOf(row));
    const { addTexts } = this.context;
    const added = await addTexts(this.view.name, version, batch, records, signal);
    const said = new Map<number, SaidRow[]>();
    for (const [at, row] of rows.entries()) {
      const revisions = added.rows[at]!;
      if (revisions instanceof TidemarkError) found.set(row, revisions);
      else said.set(row, revisions);
    }
    this.made.set(name, { rows: said, fields: added.fields, release: added.release });
  }

  /** Of every entity the first: without it the others may be in order. */
  private refuseFirst(
    found: ReadonlyMap<number, TidemarkError>,
    refused: Map<number, TidemarkError>,
  ): void {
    const entities = new Set<string>();
    for (const [row, error] of [...found].toSorted(([a], [b]) => a - b)) {
      const id = this.rows.entityIds[row]!;
      if (!entities.has(id)) refused.set(row, error);
      entities.add(id);
    }
  }

  private recordOf(row: number): TextRecord {
    const { entityIds, events, knowns, kinds, sources, parts, inputs } = this.rows;
    return {
      entityId: entityIds[row]!,
      event: events[row]!,
      known: knowns[row]!,
      part: parts[row],
      input: kinds[row] === TEXT ? inputs[sources[row]!]! : null,
    };
  }
}
