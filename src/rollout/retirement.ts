import { formatInstant } from '../ground/time.ts';
import type { Store } from '../store/store.ts';

interface Settings {
  store: Store;
  /** Whether something of the configuration names that version, and would fail without it. */
  isBound: (view: string, version: string) => boolean;
  /** Whether work that is under way reads it: it is retired when that has ended. */
  isRead: (view: string, version: string) => boolean;
  log: { info(what: object, message: string): void; warn(what: object, message: string): void };
}

/** Retires versions that answered before, once they were kept for as long as was asked. */
export class Retirement {
  private settings: Settings;
  /** Those that it has told that they stay. */
  private told = new Set<string>();

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** Rejects with STORE_UNAVAILABLE. */
  async round(): Promise<void> {
    const { store, isBound, isRead, log } = this.settings;
    // A replica does what its leader does.
    if (store.following !== undefined) return;
    for (const view of store.catalogue.views()) {
      for (const { version, kept_until } of Object.values(view.versions)) {
        const isDue = kept_until !== undefined && kept_until <= store.clock();
        if (!isDue || version === view.aliases.current || isRead(view.name, version)) continue;
        const which = { feature_view: view.name, version, kept_until: formatInstant(kept_until) };
        if (!isBound(view.name, version)) {
          await store.retire(view.name, version, { reason: `kept until ${which.kept_until}` });
          log.info(which, 'a version that was kept for a rollback is retired');
          continue;
        }
        const name = `${view.name}@${version}`;
        if (this.told.has(name)) continue;
        this.told.add(name);
        log.warn(
          which,
          'a version is not kept for a rollback any more, and stays: a source or a sink of the configuration names it',
        );
      }
    }
  }
}
