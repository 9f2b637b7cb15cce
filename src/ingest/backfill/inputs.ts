import { isDeepStrictEqual } from 'node:util';

import { TidemarkError } from '../../ground/errors.ts';
import { Pace } from '../../ground/pace.ts';
import type { FeatureView, ModelVersion } from '../../store/catalogue.ts';
import { TOMBSTONE } from '../../store/chunk.ts';
import type { Store } from '../../store/store.ts';
import { keepsInputs } from '../../store/texts.ts';
import type { VersionStore } from '../../store/version-store.ts';
import { nameOf } from '../../store/versions.ts';
import { isSameVersion } from '../kafka/destination.ts';
import { type History, type HistoryPage, PAGE_EVENTS } from './history.ts';
import type { InputsOrigin } from './record.ts';

/**
 * The revisions of another model version of the view in the order of its log, with the texts that
 * their vectors were made of. What was committed after the backfill began came to the target too.
 */
export class InputsHistory implements History {
  private store: Store;
  private view: string;
  private origin: InputsOrigin;

  constructor(store: Store, view: string, origin: InputsOrigin) {
    this.store = store;
    this.view = view;
    this.origin = origin;
  }

  get topic(): string {
    return this.origin.version;
  }

  async count(): Promise<number> {
    return this.versionStore().log.countBetween(0, this.origin.upTo);
  }

  async *pages(from: number, signal: AbortSignal): AsyncGenerator<HistoryPage> {
    const { upTo } = this.origin;
    const pace = new Pace();
    for (let after = from - 1; ;) {
      signal.throwIfAborted();
      const changes = this.versionStore().log.read(after, upTo, PAGE_EVENTS);
      if (changes.length === 0) return;
      after = changes.at(-1)!.seq;
      const page: HistoryPage = {
        next: after + 1,
        read: changes.length,
        events: [],
        rejected: [],
        erased: 0,
      };
      for (const { entityId, event, known, seq: offset, vectorId } of changes) {
        await pace.rest();
        const { erasures, texts, vectors } = this.versionStore();
        // What was erased is on its way out of the log, and its text may be gone before.
        if (!erasures.none && erasures.has(entityId)) {
          page.erased++;
          continue;
        }
        const at = { entityId, event, known, offset };
        const text = vectorId === TOMBSTONE ? undefined : texts!.get(vectorId)?.text;
        if (vectorId === TOMBSTONE) page.events.push({ ...at, kind: 'delete' });
        else if (text !== undefined) page.events.push({ ...at, kind: 'text', input: { text } });
        // Retention may have dropped it since the page was read.
        else if (vectors.has(vectorId)) page.rejected.push(this.textless(offset));
      }
      yield page;
    }
  }

  private textless(offset: number): HistoryPage['rejected'][number] {
    const name = nameOf(this.view, this.topic);
    const message = `${name} has no text of the vector, expected one: it was sent as numbers`;
    return { kind: 'rejected', code: 'BAD_INPUT', message, offset };
  }

  /** Taken anew after each await. Throws VERSION_NOT_FOUND. */
  private versionStore(): VersionStore {
    const { store, view, origin } = this;
    const now = store.catalogue.mustGetVersion(store.catalogue.mustGetView(view), origin.version);
    if (!isSameVersion(now, origin.made)) {
      throw new TidemarkError(
        'VERSION_NOT_FOUND',
        `the model version ${nameOf(view, origin.version)} was made anew while it was read`,
      );
    }
    return store.version(view, origin.version);
  }
}

function refuse(what: string): never {
  throw new TidemarkError('BAD_REQUEST', what);
}

/** Throws BAD_REQUEST where the inputs of the one version are none of the other. */
export function requireInputs(
  { name }: FeatureView,
  source: ModelVersion,
  target: ModelVersion,
): void {
  const [from, to] = [nameOf(name, source.version), nameOf(name, target.version)];
  if (source.version === target.version) refuse(`${to} cannot be filled from itself`);
  if (!keepsInputs(source)) {
    refuse(
      `${from} keeps no inputs, expected a version that was made with model.keep_inputs: ` +
        'backfill from its source, or from a file',
    );
  }
  const prompt = target.model?.prompt;
  if (prompt?.parts !== undefined) {
    refuse(
      `the prompt of ${to} has parts, which whole texts do not tell: backfill from its source`,
    );
  }
  if (prompt !== undefined && !isDeepStrictEqual(prompt, source.model?.prompt)) {
    refuse(
      `the inputs of ${from} were made by another prompt than that of ${to}: ` +
        'backfill from its source, or from a file with the fields',
    );
  }
}
